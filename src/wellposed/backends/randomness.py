"""Random generators, left as they were found: those of Python and NumPy, and any that the user's code keeps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from wellposed.backends.closures import reachable

_LONG_STATE = 100  # numbers: of plain ones alone, as Python's generator has, compared at once


class Generator(NamedTuple):
    """A generator of random numbers: what it is called, how to read its state and how to set it."""

    name: str
    read: Callable[[], Any]
    put: Callable[[Any], Any]


GLOBAL = (
    Generator("Python's random", random.getstate, random.setstate),
    Generator("NumPy's global generator", np.random.get_state, np.random.set_state),
)


class Randomness:
    """The generators that a problem may draw from, and those that it was seen to draw from."""

    def __init__(self, *generators: Generator) -> None:
        self._all = (*GLOBAL, *generators)
        self._drawn: dict[str, Generator] = {}
        self._let_run = False

    @property
    def drawn(self) -> tuple[str, ...]:
        return tuple(sorted(self._drawn))

    def states(self) -> list[Any]:
        """Of all generators, for `put`."""
        return [generator.read() for generator in self._all]

    def put(self, states: Sequence[Any]) -> None:
        for generator, state in zip(self._all, states, strict=True):
            generator.put(state)

    def fixed(self, *, seen: bool = False) -> AbstractContextManager[None]:
        """Whatever is drawn within, the generators come out unchanged: entered before each evaluation it gives all the
        same numbers.

        With `seen` only those that were drawn from before are looked after, which is much quicker.
        """
        held = tuple(self._drawn.values()) if seen else self._all
        return self._held(held) if held and not self._let_run else nullcontext()

    @contextmanager
    def let_run(self) -> Iterator[None]:
        """Within it each evaluation draws other numbers; afterwards the generators are as they were."""
        states = self.states()
        self._let_run = True
        try:
            yield
        finally:
            self._let_run = False
            self.put(states)

    @contextmanager
    def _held(self, held: Sequence[Generator]) -> Iterator[None]:
        states = [generator.read() for generator in held]
        try:
            yield
        finally:
            for generator, state in zip(held, states, strict=True):
                if not same_state(state, generator.read()):
                    generator.put(state)
                    self._drawn[generator.name] = generator


def owned_generators(*roots: Any) -> tuple[Generator, ...]:
    """The generators that the user's functions and models keep."""
    found: dict[int, Generator] = {}
    for root in roots:
        for name, thing in reachable(root):
            access = _access(thing)
            if access is not None:
                found.setdefault(id(thing), Generator(f"the generator `{name}`", *access))
    return tuple(found.values())


def _access(thing: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]] | None:
    if isinstance(thing, np.random.Generator):
        bits = thing.bit_generator
        return lambda: bits.state, lambda state: setattr(bits, "state", state)
    if isinstance(thing, random.Random):
        return thing.getstate, thing.setstate
    named_so = type(thing).__name__ in (
        "Generator",
        "RandomState",
    )  # torch.Generator has the same two methods as NumPy's RandomState
    return (thing.get_state, thing.set_state) if named_so and hasattr(thing, "set_state") else None


def same_state(before: Any, after: Any) -> bool:
    """Of one generator, as it is read."""
    if isinstance(before, dict):
        return all(same_state(before[key], after[key]) for key in before)
    if isinstance(before, tuple):
        return len(before) == len(after) and (
            before == after if len(before) > _LONG_STATE else all(map(same_state, before, after))
        )
    equal = before == after
    return bool(equal) if isinstance(equal, bool) else bool(equal.all())
