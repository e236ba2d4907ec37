"""Directions in parameter space, in units of the parameters' own sizes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Layout

_ZERO = 0.1  # of its tensor's typical size: how far an entry is moved that is exactly 0 and so tells nothing of its size
_FARTHEST = 1e6  # times its own size is a tensor moved at most, beside others in one direction
_LEAST = 1e-3  # of that size: how far any other entry is moved at least


class Directions:
    """Draws directions at one point theta with the gradient claimed there. Entries masked as `untrained` are never moved."""

    def __init__(self, layout: Layout, theta: Vector, gradient: Vector, untrained: dict[str, Array], random: np.random.Generator) -> None:
        self._layout, self._theta, self._gradient, self._random = layout, theta, gradient, random
        shapes = layout.shapes
        self._untrained = layout.pack({n: untrained.get(n, np.zeros(shapes[n])) for n in shapes}) > 0 if untrained else None
        self._typical = float(np.sqrt(np.mean(theta**2))) or 1.0

    @cached_property
    def sizes(self) -> Vector:
        """The typical size of the entries of each tensor (of all of them where the tensor is zero), for every entry."""
        typical = {name: float(np.sqrt(np.mean(part**2))) if part.size else 0.0 for name, part in self._layout.unpack(self._theta).items()}
        return self._layout.pack({name: np.full(shape, typical[name] or self._typical) for name, shape in self._layout.shapes.items()})

    @cached_property
    def entries(self) -> Vector:
        """How far each entry can be moved: by its own size, as a function with a pole or an edge at 0 asks for."""
        return np.where(self._theta == 0, _ZERO * self.sizes, np.maximum(np.abs(self._theta), _LEAST * self.sizes))

    def jointly(self, names: Sequence[str], *, along_claim: bool = False) -> Vector:
        """One direction through several tensors: t = 1 moves each entry by about its own size, or less.

        Random and Gaussian within each tensor, or along its claimed gradient. A tensor whose claimed gradient would outweigh the
        others is moved less, so that an error in any of them shows.
        """
        u = np.zeros_like(self._theta)
        for name in names:
            place = self._layout.slices[name]
            if along_claim:
                steepest = self._gradient[place] * self.entries[place] ** 2
                part = steepest * (float(np.linalg.norm(self.entries[place])) / (float(np.linalg.norm(steepest)) or 1.0))
            else:  # not of length 1: two tensors of one entry each would often cancel exactly
                part = self._random.standard_normal(place.stop - place.start) * self.entries[place]
            u[place] = part * self._share(name)
        if self._untrained is not None:
            u[self._untrained] = 0.0
        return u

    @cached_property
    def _weights(self) -> dict[str, float]:
        """What each tensor would contribute to a random slope: the norm of its claimed gradient in units of its entries' sizes."""
        return {name: float(np.linalg.norm(self._gradient[place] * self.entries[place])) for name, place in self._layout.slices.items()}

    def balanced(self, names: Sequence[str]) -> tuple[Vector, dict[str, float]]:
        """A random direction through tensors with a gradient, each moved so far that all contribute alike to the slope, and the standard
        deviations of what they contribute. For small t only: a tensor with a small gradient is moved by more than its own size.
        """
        median = float(np.median([self._weights[name] for name in names]))
        factors = {name: min(_FARTHEST, median / mine) if (mine := self._weights[name]) else 1.0 for name in names}
        u = np.zeros_like(self._theta)
        for name in names:
            place = self._layout.slices[name]
            np.multiply(self._random.standard_normal(place.stop - place.start), self.entries[place], out=u[place])
            u[place] *= factors[name]
        if self._untrained is not None:
            u[self._untrained] = 0.0
        return u, {name: factors[name] * self._weights[name] for name in names}

    def _share(self, name: str) -> float:
        mine = self._weights[name]
        return min(1.0, self._median / mine) if mine else 1.0

    @cached_property
    def _median(self) -> float:
        return float(np.median([weight for weight in self._weights.values() if weight] or [0.0]))

    def share(self, name: str) -> float:
        """The standard deviation of what a tensor's claimed gradient contributes to a random joint slope."""
        return min(self._weights[name], self._median)

    def random_direction(self, place: slice) -> Vector:
        """A Gaussian direction within one tensor, of length 1: every entry takes part with a continuous weight, in units of its size."""
        u = np.zeros_like(self._theta)
        u[place] = self._random.standard_normal(place.stop - place.start) * self.entries[place]
        if self._untrained is not None:
            u[self._untrained] = 0.0
        return u / (float(np.linalg.norm(u)) or 1.0)

    def along_claim(self, place: slice) -> Vector | None:
        """The direction within one tensor in which the claimed slope is steepest, in units of its entries' sizes; None where it is zero."""
        part = self._gradient[place] * self.entries[place] ** 2
        length = float(np.linalg.norm(part))
        if length == 0 or not np.isfinite(length):
            return None
        u = np.zeros_like(self._theta)
        u[place] = part / length
        return u

    def reach(self, u: Vector) -> float:
        """How far t must go to move the entries by about their size."""
        parts = u / self.entries
        return float(np.sqrt(np.count_nonzero(u))) / float(np.linalg.norm(parts))

    def spread(self, u: Vector) -> float:
        """The size of the claimed slope along a random direction of these sizes."""
        return float(np.linalg.norm(self._gradient * u))
