"""Quick measurements of what is wrong within one tensor: e.w, for the error e = true gradient - claim and any weights
w.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, sqrt
from typing import NamedTuple

import numpy as np

from wellposed.derivatives.ladder import SIGMAS
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.numerics.arrays import Array, Vector

_SMALLEST_MOVE = 0.5  # of the tensor's typical size: how far the smallest entries are moved
_LARGEST_MOVE = 0.03  # of its size: how far any entry is moved at most
_CLAIM = 8.0  # units in the last place that the claim may be off by


class Residual(NamedTuple):
    """e.w and its error bar."""

    value: float
    bar: float

    @property
    def zero(self) -> bool:
        return abs(self.value) <= self.bar

    @property
    def ratio(self) -> float:
        return abs(self.value) / self.bar if self.bar else inf

    def times(self, factor: float) -> Residual:
        return Residual(self.value * factor, self.bar * abs(factor))


class Residuals:
    """Two evaluations each: one two-sided difference, of a step that probes through the tensor have shown to be short
    enough.

    A weight w of an entry moves it by w times its size. Steps balance noise against the bend that the probe saw; a
    direction through m of the P entries is moved (m / P)^(1/4) as far: between a bend that only the distance
    counts for, and one that each entry brings alone.
    """

    def __init__(self, prober: Prober, place: slice, probes: Sequence[Probe]) -> None:
        self._prober, self._place = prober, place
        own = np.abs(prober.theta[place])
        self.sizes: Vector = np.maximum(
            own, _SMALLEST_MOVE * (float(np.sqrt(np.mean(own**2))) or prober.directions.size(place))
        )
        self._noise = max(prober.near.level if isfinite(prober.near.level) else 0.0, prober.eps * abs(prober.value) / 2)
        # In a small tensor one direction bends far more than another.
        self._third = max((p.slope.third for p in probes if isfinite(p.slope.third)), default=inf)
        self._distance = self._best(probes[-1])
        self.evaluations = 0

    def _best(self, probe: Probe) -> float:
        """How far theta is moved along a direction through all entries: half of what would make the two errors
        equal.
        """
        furthest = _LARGEST_MOVE * float(np.linalg.norm(self.sizes))
        if not isfinite(self._third):
            return min(furthest, probe.slope.step / 4) if isfinite(probe.slope.step) else furthest
        balanced = 0.5 * (self._noise / self._third) ** (1 / 3) if self._third else 0.0
        return (
            min(furthest, balanced) if balanced else furthest
        )  # a loss without noise, as a linear one at 0 is, sets no bound

    def of(self, weights: Vector, part: float = 1.0) -> Residual:
        """e.(w * sizes), weights of the tensor's length; `part` shortens the step."""
        moved = weights * self.sizes
        count = int(np.count_nonzero(moved))
        length = float(np.linalg.norm(moved))
        if not count or not length:
            return Residual(0.0, 0.0)
        if not 0 < self._distance < inf:
            return Residual(0.0, inf)
        distance = part * self._distance * (count / moved.size) ** 0.25
        h = min(distance / length, part * _LARGEST_MOVE / float(np.abs(weights).max()))
        u = np.zeros_like(self._prober.theta)
        u[self._place] = moved
        self._prober.budget.demand()
        self.evaluations += 2
        value = self._prober.difference(u, h)
        claimed = _CLAIM * self._prober.claim_eps * float(np.linalg.norm(self._prober.gradient[self._place] * moved))
        bend = self._third * length**3 * h * h if isfinite(self._third) else 0.0
        bar = SIGMAS * self._noise / (sqrt(2) * h) + 2 * bend + claimed
        return Residual(value, bar) if isfinite(value) else Residual(0.0, inf)

    def twice(self, weights: Vector, coarse: Residual | None = None) -> Residual:
        """By two steps, of which the first may be known: what changes between them is bend. Where the second shows
        nothing, its bar counts: the first may be all bend."""
        coarse, fine = coarse or self.of(weights), self.of(weights, 0.25)
        gap = abs(coarse.value - fine.value)
        if gap > coarse.bar + fine.bar:
            return Residual(fine.value, max(fine.bar, 2 * gap))
        return Residual(coarse.value, max(coarse.bar, gap / 2, fine.bar if fine.zero else 0.0))

    def entry(self, flat: int, known: Residual | None = None) -> Residual:
        """The error of one entry: by two steps, unless the first (which may be `known`) shows none."""
        coarse = known or self.of_entry(flat)
        size = float(self.sizes[flat])
        return coarse if coarse.zero else self.twice(self._only(flat), coarse.times(size)).times(1 / size)

    def of_entry(self, flat: int) -> Residual:
        """As `entry`, by one step."""
        return self.of(self._only(flat)).times(1 / float(self.sizes[flat]))

    def _only(self, flat: int) -> Vector:
        weights = np.zeros(self.sizes.size)
        weights[flat] = 1.0
        return weights


def signed_weights(random: np.random.Generator, size: int) -> Vector:
    """Continuous, so that two errors do not cancel; none small, so that each shows."""
    weights: Vector = random.uniform(0.5, 1.5, size) * random.choice([-1.0, 1.0], size)
    return weights


def flat_of(indices: tuple[Array, ...], shape: tuple[int, ...]) -> Array:
    """The flat positions of a product set of indices, one array per axis."""
    return np.ravel_multi_index(np.ix_(*indices), shape).ravel() if shape else np.zeros(1, dtype=int)
