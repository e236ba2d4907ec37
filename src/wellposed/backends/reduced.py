"""A large problem as a function of a few random coordinates for each tensor, so that no vector of all parameters is
needed to look at its gradient.

theta = theta_0 + sum over a tensor's coordinates of (s - 1) d: the directions d of one tensor share its entries between
them, and move each by about its own size where s changes by 1. The gradient by s is that by theta along each d. An
error in a tensor's gradient shows along them as it does along any random direction: with a chance that it is missed
which is told.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wellposed.backends.measured import Cut, NotFinite, Run, Uncut
from wellposed.backends.protocol import Differentiation, Held, Network, Part, Problem, Training, Variants
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, Theta, as_vector

PER_TENSOR = 8
"""Coordinates of a tensor: the size of a gradient is known from so many to about a quarter."""


@dataclass(frozen=True)
class ReducedLayout(Layout):
    """The shapes are of the coordinates, `sizes` the numbers of entries of the tensors."""

    sizes: Mapping[str, int]

    def share(self, names: Iterable[str]) -> float:
        return sum(self.sizes[name] for name in names) / sum(self.sizes.values())

    def entry(self, name: str, flat: int) -> str:
        return f"{name}.flatten()[{flat}::{self.shapes[name][0]}]"


class Coordinates(Protocol):
    """The directions at one point, drawn again whenever they are needed."""

    @property
    def at(self) -> Theta:
        """The point where every coordinate is 1."""

    @property
    def layout(self) -> Layout:
        """The tensors' names, with the number of coordinates of each."""

    def moved(self, s: Vector) -> Theta:
        """The point with these coordinates."""

    def along(self, gradient: Gradient) -> dict[str, Vector | None]:
        """The gradient by the coordinates."""


class Reduced(Problem, Differentiation, Network, Training, Variants):
    """J(s). `whole` is the problem itself."""

    by_entry = False

    def __init__(self, whole: Problem, coordinates: Coordinates) -> None:
        self._whole, self._coordinates = whole, coordinates
        self.backend, self.dtype = whole.backend, whole.dtype
        self.handwritten, self.cuts_count = whole.differentiation.handwritten, whole.differentiation.cuts_count
        self.is_part, self.context = whole.differentiation.is_part, whole.differentiation.context
        self.trained_in, self.rows, self.coarse = (
            whole.variants.trained_in,
            whole.variants.rows,
            whole.variants.coarse,
        )

    @property
    def evaluations(self) -> int:
        return self._whole.evaluations

    @evaluations.setter
    def evaluations(self, number: int) -> None:
        self._whole.evaluations = number

    @property
    def layout(self) -> Layout:
        return self._coordinates.layout

    @property
    def size(self) -> int:
        return self._whole.variants.size

    def theta(self) -> Vector:
        return np.ones(self.layout.size)

    def value(self, theta: Theta) -> float:
        return self._whole.value(self._point(theta))

    def gradient(self, theta: Theta) -> Gradient:
        return self.along(self._whole.gradient(self._point(theta)))

    def preserved(self) -> AbstractContextManager[None]:
        return self._whole.preserved()

    def _point(self, theta: Theta) -> Theta:
        return self._coordinates.moved(as_vector(theta))

    def along(self, gradient: Gradient) -> Gradient:
        """The gradient by theta as that by the coordinates."""
        return self._coordinates.along(gradient)

    def _along(self, gradient: Gradient | None) -> Gradient | None:
        return None if gradient is None else self.along(gradient)

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient | None:
        return self._along(self._whole.differentiation.gradient_of_multiple(self._point(theta), factor))

    def unreached(self) -> tuple[str, ...]:
        return self._whole.differentiation.unreached()

    def parts(self, theta: Theta) -> list[Part]:
        return self._whole.differentiation.parts(self._point(theta))

    def forward_again(self, theta: Theta, names: Collection[str]) -> Gradient | None:
        return self._along(self._whole.differentiation.forward_again(self._point(theta), names))

    def held(self, theta: Theta) -> Held | None:
        held = self._whole.differentiation.held(self._point(theta))
        return None if held is None else _ReducedHeld(held, self._of)

    def uncut(self, theta: Theta) -> Uncut | None:
        found = self._whole.differentiation.uncut(self._point(theta))
        if found is None:
            return None
        return found._replace(gradient=self.along(found.gradient))

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        return self._whole.differentiation.first_not_finite(self._point(theta))

    def run(self, theta: Theta | None = None) -> Run | None:
        return self._whole.network.run(None if theta is None else self._point(theta))

    def data(self) -> dict[str, Array]:
        return self._whole.network.data()

    def left_out(self) -> tuple[str, ...]:
        return self._whole.training.left_out()

    @property
    def draws(self) -> tuple[str, ...]:
        return self._whole.variants.draws

    def redrawn(self, theta: Theta, times: int = 4) -> Iterator[Gradient]:
        return map(self.along, self._whole.variants.redrawn(self._point(theta), times))

    def within(self, name: str, theta: Theta) -> Problem | None:
        return self._whole.variants.within(name, self._point(theta))

    def _of(self, other: Problem) -> Problem:
        """The same coordinates of another problem of the same parameters."""
        reduced = copy.copy(self)
        reduced._whole = other
        return reduced


class _ReducedHeld:
    """See `Held`."""

    def __init__(self, held: Held, reduced: Callable[[Problem], Problem]) -> None:
        self._held, self._reduced = held, reduced
        self.problem = reduced(held.problem)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        return self._held.cuts

    @property
    def broken(self) -> bool:
        return self._held.broken

    def freed(self, *cuts: Cut) -> Problem:
        return self._reduced(self._held.freed(*cuts))

    def nudged(self, cut: Cut) -> Problem:
        return self._reduced(self._held.nudged(cut))
