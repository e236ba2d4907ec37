"""Random generators, left as they were found: those of Python and NumPy, and any that the user's code keeps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from wellposed.backends.closures import reachable

Owned = Sequence[tuple[str, Callable[[], Any], Callable[[Any], Any]]]
"""Generators of the user's own: what they are called, how to read their state and how to set it."""


@contextmanager
def generators_restored(owned: Owned = (), drawn: set[str] | None = None) -> Iterator[None]:
    """Whatever is drawn within, the global generators of `random` and `numpy.random`, and those owned, come out unchanged.

    Entering it anew before every evaluation also gives each evaluation the same random numbers. The names of those that
    were drawn from are added to `drawn`.
    """
    held: Owned = (*_GLOBAL, *owned)
    states = [read() for _, read, _ in held]
    try:
        yield
    finally:
        for (name, read, put), state in zip(held, states, strict=True):
            if not _same(state, read()):
                put(state)
                if drawn is not None:
                    drawn.add(name)


def owned_generators(*roots: Any) -> Owned:
    """The generators that the user's functions and models keep."""
    found: dict[int, Any] = {}
    for root in roots:
        for name, thing in reachable(root):
            access = _access(thing)
            if access is not None:
                found.setdefault(id(thing), (f"the generator `{name}`", *access))
    return tuple(found.values())


def _access(thing: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]] | None:
    if isinstance(thing, np.random.Generator):
        bits = thing.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    if isinstance(thing, random.Random):
        return thing.getstate, thing.setstate
    named_so = type(thing).__name__ in ("Generator", "RandomState")  # torch.Generator has the same two methods as NumPy's RandomState
    return (thing.get_state, thing.set_state) if named_so and hasattr(thing, "set_state") else None


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, dict):
        return all(_same(before[key], after[key]) for key in before)
    if isinstance(before, tuple):
        return len(before) == len(after) and (before == after if len(before) > 100 else all(map(_same, before, after)))
    equal = before == after
    return bool(equal) if isinstance(equal, bool) else bool(equal.all())


_GLOBAL: Owned = (
    ("Python's random", random.getstate, random.setstate),
    ("NumPy's global generator", np.random.get_state, np.random.set_state),
)
