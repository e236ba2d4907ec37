"""The line of the user's own code in which something happened."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType, TracebackType

_LONGEST_LINE = 100


def find_caller(inside: tuple[str, ...]) -> str:
    """The innermost line of the call stack outside packages of these names and the standard library; "" where our own
    code called them.
    """
    frame = _outside(inside)
    return "" if frame is None else show_line(frame.f_code.co_filename, frame.f_lineno)


def place_of(inside: tuple[str, ...]) -> str:
    """As `find_caller`, as "file.py:12"."""
    frame = _outside(inside)
    return "" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def within_package(package: str) -> bool:
    """Whether a module of that package is on the call stack, beyond our own code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(package):
            return True
        frame = frame.f_back
    return False


def _outside(inside: tuple[str, ...]) -> FrameType | None:
    frame: FrameType | None = sys._getframe(2)
    beyond = False  # the stack begins with our own code, which watches
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package == "wellposed" and beyond:
            return None
        if package not in inside and package not in sys.stdlib_module_names:
            return frame
        beyond = beyond or package != "wellposed"
        frame = frame.f_back
    return None


def find_raise(traceback: TracebackType | None, inside: tuple[str, ...]) -> str:
    """As `find_caller`, of where an exception was raised."""
    found = ""
    while traceback is not None:
        frame = traceback.tb_frame
        if str(frame.f_globals.get("__name__", "")).split(".")[0] not in inside:
            found = show_line(frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def show_line(file: str, number: int) -> str:
    """ "line 3: `x = f(y)`", without the text where the file cannot be read."""
    text = linecache.getline(file, number).strip()
    text = text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 3] + "..."
    return f"line {number}{f': `{text}`' if text else ''}"
