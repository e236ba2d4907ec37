"""What a person sees of a command: reports, errors, progress; nothing of processes that are not the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import Progress as Bar
from rich.text import Text

from wellposed.errors import InputError
from wellposed.printable import harmless
from wellposed.report.text import without_colour

AT_FAULT = 2
"""The exit status where the call or the file is at fault."""


def tells() -> bool:
    """Whether this process is the one of several, as torchrun starts them, that prints and writes."""
    return "WORLD_SIZE" not in os.environ or os.environ.get("RANK", "0") == "0"


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, where that is a terminal; it is gone when the work is done."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal or not tells()) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


def complain(error: InputError) -> int:
    rank = "" if tells() else f" (rank {os.environ['RANK']})"
    Console(stderr=True, highlight=False).print(Text(harmless(f"wellposed{rank}: {error}")))
    return AT_FAULT


def show(shown: RenderableType) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(shown)
    else:
        print(without_colour(shown, console.width))
