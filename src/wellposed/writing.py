"""Files written whole or not at all; what is no regular file is never replaced, and nothing that was read is
overwritten.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from wellposed.errors import InputError

Where = str | os.PathLike[str]
Content = str | Callable[[TextIO], object]
_COMPLAINT = "the report cannot be written to {}"


def write_whole(path: Where, content: Content, *, read: Iterable[Where] = (), complaint: str = _COMPLAINT) -> None:
    """The content, a text or what writes it, goes to a temporary file beside the target, which then takes its place and
    permissions.

    Symbolic links are followed. A device or a pipe is written to as it is, where that does not wait for a reader.
    Raises `InputError` where nothing can be written (an older file is then as it was), and for a target that is one of
    the files that were `read`.
    """
    try:
        target = Path(path).resolve(strict=False)
        _refuse_inputs(target, path, read, complaint)
        there = target.stat() if target.exists() else None
        if there is not None and not stat.S_ISREG(there.st_mode):
            _through(target, content, there)
        else:
            _replaced(target, content, None if there is None else stat.S_IMODE(there.st_mode))
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        said = getattr(error, "strerror", None) or str(error)
        folder = Path(path).parent
        hint = (
            "an older file of that name is as it was"
            if folder.is_dir()
            else f"make the folder first: mkdir -p {folder}"
        )
        raise InputError(f"{complaint.format(path)}: {said}", hint=hint) from error


def refuse_inputs(outputs: Iterable[Where], read: Iterable[Where]) -> None:
    """Before long work: no output may be a file that is read, nor another output; "" and "-" are no files. Raises
    `InputError`.
    """
    taken: list[Path] = []
    inputs = list(read)
    for path in (one for one in outputs if one not in ("", "-")):
        try:
            target = Path(path).resolve(strict=False)
        except (OSError, RuntimeError) as error:  # links in a circle
            raise InputError(f"{_COMPLAINT.format(path)}: {error}", hint="give another name") from error
        _refuse_inputs(target, path, inputs, _COMPLAINT)
        if target in taken:
            raise InputError(f"two outputs would be written to {path}", hint="give each a file of its own")
        taken.append(target)


def _refuse_inputs(target: Path, path: Where, read: Iterable[Where], complaint: str) -> None:
    for other in read:
        same = Path(other).resolve(strict=False)
        if target == same or (target.exists() and same.exists() and target.samefile(same)):
            raise InputError(f"{complaint.format(path)}: it is the file that is read", hint="give another name")


def _write(content: Content, file: TextIO) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content)


def _through(target: Path, content: Content, there: os.stat_result) -> None:
    """To a device or a pipe that somebody reads; a folder raises as such."""
    flags = os.O_WRONLY | (os.O_NONBLOCK if stat.S_ISFIFO(there.st_mode) else 0)
    handle = os.open(target, flags)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.set_blocking(handle, True)
        _write(content, file)


def _replaced(target: Path, content: Content, mode: int | None) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as part:
            _write(content, part)
            part.flush()
            os.fsync(part.fileno())
        if mode is None:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask  # a temporary file is its owner's alone
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
