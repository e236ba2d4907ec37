"""Directions in parameter space, in units of the parameters' own sizes.

What belongs to all parameters is computed tensor by tensor and not kept: of a large model each vector of its entries
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Layout

_ZERO = (
    0.1  # of its tensor's typical size: how far an entry is moved that is exactly 0 and so tells nothing of its size
)
_FARTHEST = 1e6  # times its own size is a tensor moved at most, beside others in one direction
_LEAST_MOVE = 1e-3  # of that size: how far any other entry is moved at least


class Directions:
    """Draws directions at one point theta with the gradient claimed there. Entries masked as `untrained` are never
    moved.
    """

    def __init__(
        self, layout: Layout, theta: Vector, gradient: Vector, untrained: dict[str, Array], random: np.random.Generator
    ) -> None:
        self._layout, self._theta, self._gradient, self._random, self._untrained = (
            layout,
            theta,
            gradient,
            random,
            untrained,
        )
        self._typical = _root_mean_square(theta) or 1.0

    def size(self, place: slice) -> float:
        """The typical size of a tensor's entries; of all entries where the tensor is zero."""
        return _root_mean_square(self._theta[place]) or self._typical

    def entries(self, place: slice) -> Vector:
        """How far each entry can be moved: by its own size, as a function with a pole or an edge at 0 asks for."""
        part, size = self._theta[place], self.size(place)
        return np.where(part == 0, _ZERO * size, np.maximum(np.abs(part), _LEAST_MOVE * size))

    def jointly(self, names: Sequence[str], *, along_claim: bool = False) -> Vector:
        """One direction through several tensors: t = 1 moves each entry by about its own size, or less.

        Random and Gaussian within each tensor, or along its claimed gradient. A tensor whose claimed gradient would
        outweigh the others is moved less, so that an error in any of them shows.
        """
        u = np.zeros_like(self._theta)
        for name in names:
            place = self._layout.slices[name]
            entries = self.entries(place)
            if along_claim:
                steepest = self._gradient[place] * entries**2
                part = steepest * (float(np.linalg.norm(entries)) / (float(np.linalg.norm(steepest)) or 1.0))
            else:  # not of length 1: two tensors of one entry each would often cancel exactly
                part = self._random.standard_normal(place.stop - place.start) * entries
            u[place] = part * self._share(name)
        return self._trained(u)

    @cached_property
    def weights(self) -> dict[str, float]:
        """What each tensor would contribute to a random slope: the norm of its claimed gradient in units of its
        entries' sizes.
        """
        return {
            name: float(np.linalg.norm(self._gradient[place] * self.entries(place)))
            for name, place in self._layout.slices.items()
        }

    def balanced(self, names: Sequence[str]) -> tuple[Vector, dict[str, float]]:
        """A random direction through tensors with a gradient, each moved so far that all contribute alike to the slope,
        and the standard deviations of what they contribute. For small t only: a tensor with a small gradient is moved
        by more than its own size.
        """
        median = float(np.median([self.weights[name] for name in names]))
        factors = {name: min(_FARTHEST, median / mine) if (mine := self.weights[name]) else 1.0 for name in names}
        u = np.zeros_like(self._theta)
        for name in names:
            place = self._layout.slices[name]
            np.multiply(self._random.standard_normal(place.stop - place.start), self.entries(place), out=u[place])
            u[place] *= factors[name]
        return self._trained(u), {name: factors[name] * self.weights[name] for name in names}

    def _share(self, name: str) -> float:
        mine = self.weights[name]
        return min(1.0, self._median / mine) if mine else 1.0

    @cached_property
    def _median(self) -> float:
        return float(np.median([weight for weight in self.weights.values() if weight] or [0.0]))

    def share(self, name: str) -> float:
        """The standard deviation of what a tensor's claimed gradient contributes to a random joint slope."""
        return min(self.weights[name], self._median)

    def random_direction(self, place: slice) -> Vector:
        """A Gaussian direction within one tensor, of length 1: every entry takes part with a continuous weight, in
        units of its size.
        """
        u = np.zeros_like(self._theta)
        u[place] = self._random.standard_normal(place.stop - place.start) * self.entries(place)
        u = self._trained(u)
        return u / (float(np.linalg.norm(u)) or 1.0)

    def along_claim(self, place: slice) -> Vector | None:
        """The direction within one tensor in which the claimed slope is steepest, in units of its entries' sizes; None
        where it is zero.
        """
        part = self._gradient[place] * self.entries(place) ** 2
        length = float(np.linalg.norm(part))
        if length == 0 or not np.isfinite(length):
            return None
        u = np.zeros_like(self._theta)
        u[place] = part / length
        return u

    def nearby(self) -> Vector:
        """A random point at which each entry is about 1 % of its tensor's size away."""
        moved = self._theta.copy()
        for place in self._layout.slices.values():
            moved[place] += 0.01 * self.size(place) * self._random.standard_normal(place.stop - place.start)
        return moved

    def reach(self, u: Vector) -> float:
        """How far t must go to move the entries by about their size."""
        lengths = [
            float(np.linalg.norm(u[place] / self.entries(place)))
            for place in self._layout.slices.values()
            if u[place].any()
        ]
        length = float(np.linalg.norm(lengths))
        return float(np.sqrt(np.count_nonzero(u))) / length if 0 < length < np.inf else 1.0

    def spread(self, u: Vector) -> float:
        """The size of the claimed slope along a random direction of these sizes."""
        lengths = [float(np.linalg.norm(self._gradient[place] * u[place])) for place in self._layout.slices.values()]
        return float(np.linalg.norm(lengths))

    def _trained(self, u: Vector) -> Vector:
        """u, which is changed, without the entries that are not trained."""
        parts = self._layout.unpack(u) if self._untrained else {}
        for name, mask in self._untrained.items():
            parts[name][mask > 0] = 0.0
        return u


def _root_mean_square(values: Vector) -> float:
    return float(np.linalg.norm(values)) / float(np.sqrt(values.size)) if values.size else 0.0
