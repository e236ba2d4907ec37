"""Files that can be read: regular ones, not pipes that nobody writes to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wellposed.errors import InputError


def demand_regular(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` for a pipe, a socket or a device: reading it may never end. What is not there is left to
    whoever opens it.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{path} is no regular file", hint="write what comes through a pipe to a file first")


def regular_text(path: str | os.PathLike[str]) -> str:
    """The text of a regular file."""
    demand_regular(path)
    return Path(path).read_text(encoding="utf-8")
