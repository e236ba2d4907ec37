"""Functions of a framework replaced for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Patches:
    """On leaving, everything is as it was before."""

    def __init__(self) -> None:
        self._own: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, made: Callable[[Any], Any]) -> None:
        """In place of what the owner itself has by this name, if it has one, what `made` makes of it."""
        own = vars(owner).get(name)
        if own is not None:
            self._own.append((owner, name, own))
            setattr(owner, name, made(own))

    @contextmanager
    def lifted(self, owner: Any, name: str) -> Iterator[None]:
        """Within it that one is as before."""
        ours = vars(owner)[name]
        for other, key, own in self._own:
            if other is owner and key == name:
                setattr(owner, name, own)
        try:
            yield
        finally:
            setattr(owner, name, ours)

    def __enter__(self) -> Patches:
        return self

    def __exit__(self, *_: Any) -> None:
        for owner, name, own in reversed(self._own):
            setattr(owner, name, own)
        self._own.clear()
