"""Code that is not ours is called here where it may raise anything: models, losses, activations, and their backward
passes, often in a dtype, on rows or at a point that they were not written for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from wellposed.errors import WellposedError

T = TypeVar("T")
D = TypeVar("D")


@dataclass(frozen=True)
class Raised:
    """What was raised in place of a result."""

    error: Exception

    @property
    def line(self) -> str:
        """As the last line of a traceback begins."""
        return f"{type(self.error).__name__}: {self.error}".partition("\n")[0]


def attempt(run: Callable[[], T], *, ours: bool = False) -> T | Raised:
    """What `run` returns, or what it raised. Our own clear messages come through unless `ours` are taken too, and so
    does a want of memory.
    """
    try:
        return run()
    except MemoryError:
        raise
    except WellposedError as error:
        if not ours:
            raise
        return Raised(error)
    except Exception as error:  # not our code: anything may come
        return Raised(error)


def ask(run: Callable[[], T], otherwise: D, *, ours: bool = True) -> T | D:
    """What `run` returns, or `otherwise` where it raises; our own messages come through without `ours`."""
    made = attempt(run, ours=ours)
    return otherwise if isinstance(made, Raised) else made
