"""A model and its loss on one batch as functions of arrays: what structure is measured by, whatever the framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from wellposed.numerics.arrays import Array

WIDE = 512
"""Numbers along an axis that counts no positions, of which as many at most are looked at."""
_STEADY = 1e-6  # of the largest output: two passes on the same inputs
UNCHANGED: Mapping[str, Array] = MappingProxyType({})
Note = Callable[[str, Array], None]


class Sent(NamedTuple):
    """One of the model's outputs, by its place among them, and the derivative of the loss by it."""

    place: int
    outputs: Array
    slope: Array


class Program(ABC):
    """`inputs` are the arrays that the model reads and `targets` those that the loss does, by the names their owner
    knows them by; one array may be both. `recurrent` says whether a recurrent layer reads them, `draws` whether random
    numbers change what is made in use, `complete` whether `inputs` are all that tells one example from another, `pure`
    whether a pass can leave nothing behind.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array]
    recurrent: bool = False
    draws: bool = False
    complete: bool = True
    pure: bool = False

    @abstractmethod
    def passed(self, changed: Mapping[str, Array] = UNCHANGED, place: int | None = None) -> Array | None:
        """The outputs at that place (the first ones of two axes or more, where none is given) in evaluation mode, with
        the same random numbers each time. `changed` stands in place of inputs and may have fewer rows or positions.
        None where there are none, or some are not finite.
        """

    @abstractmethod
    def sent(self) -> list[Sent]:
        """What the loss sends back to each of the outputs, in the mode that the model is in; those alone that get
        anything.
        """

    @abstractmethod
    def slope_at(self, place: int, outputs: Array, changed: Mapping[str, Array] = UNCHANGED) -> Array | None:
        """The derivative of the loss by the outputs at other values of them, or with other targets; None where outputs
        cannot be put in.
        """

    def watched(self, changed: Mapping[str, Array], place: int, note: Note) -> Array | None:
        """As `passed`; `note` is told what each part of the model makes on the way, in order and by its name."""
        return self.passed(changed, place)

    @cached_property
    def all_sent(self) -> list[Sent]:
        return self.sent()

    def before(self, place: int | None) -> Array | None:
        """The outputs of the batch as it is; None also where they are others after a pass on other inputs, as of a
        model that carries a state from one to the next.
        """
        if place not in self._before:
            one = self.passed(place=place)
            if not self.pure:
                self.passed({name: np.roll(leaf, 1, 0) for name, leaf in self.inputs.items() if leaf.ndim}, place)
                one = one if _same(one, self.passed(place=place)) else None
            self._before[place] = one
        return self._before[place]

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What others have found out of it."""
        return {}

    @cached_property
    def _before(self) -> dict[int | None, Array | None]:
        return {}


def _same(one: Array | None, other: Array | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return False
    return float(np.abs(one - other).max(initial=0.0)) <= _STEADY * float(np.abs(one).max(initial=0.0))
