"""The line of the user's own code that an equation of a jaxpr comes from."""

from __future__ import annotations

from typing import Any

from wellposed.backends.lines import show_line

_INSIDE = ("/jax/", "/jaxlib/", "/wellposed/", "/flax/", "/optax/", "/equinox/", "importlib")
_METHODS = ("meth", "op", "deferring_binary_op", "<lambda>")  # of an array, which call the function of that name


def line_of(equation: Any) -> str:
    """ "" where it is not known."""
    frame = _frame(equation)
    return "" if frame is None else show_line(frame.file_name, frame.line_num)


def asked_for_by(equation: Any) -> str:
    """The name of the function of JAX that the user's code called."""
    outermost = ""
    for frame in getattr(equation.source_info.traceback, "frames", ()):
        if not any(part in frame.file_name for part in _INSIDE):
            return outermost
        name = frame.function_name.rpartition(".")[2]
        outermost = name if name not in _METHODS else outermost
    return ""


def _frame(equation: Any) -> Any:
    frames = getattr(equation.source_info.traceback, "frames", ())
    return next((frame for frame in frames if not any(part in frame.file_name for part in _INSIDE)), None)
