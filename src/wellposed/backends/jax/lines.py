"""The line of the user's own code that an equation of a jaxpr comes from."""

from __future__ import annotations

from typing import Any

from wellposed.backends.lines import show_line

_INSIDE = ("/jax/", "/jaxlib/", "/wellposed/", "/flax/", "/optax/", "/equinox/", "importlib")
_METHODS = ("meth", "op", "deferring_binary_op", "<lambda>")  # of an array, which call the function of that name


def line_of(equation: Any) -> str:
    """ "" where it is not known."""
    frame = next((frame for frame in _frames(equation) if not _inside(frame)), None)
    return "" if frame is None else show_line(frame.file_name, frame.line_num)


def asked_for_by(equation: Any) -> str:
    """The name of the function of JAX that the user's code called."""
    outermost = ""
    for frame in _frames(equation):
        if not _inside(frame):
            return outermost
        name = frame.function_name.rpartition(".")[2]
        outermost = name if name not in _METHODS else outermost
    return ""


def _frames(equation: Any) -> Any:
    """Of the stack, the innermost first."""
    return getattr(equation.source_info.traceback, "frames", ())


def _inside(frame: Any) -> bool:
    return any(part in frame.file_name for part in _INSIDE)
