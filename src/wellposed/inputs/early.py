"""Stop reading when the mean and the standard deviation are known well enough; the unit of sampling is an entry of axis
0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wellposed.inputs.features import features_of
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.shifted import unit_of

_UNITS_BEFORE_FIRST_LOOK = 1000  # units read before the first look, or as many as there are
_GROWTH = 1.05


class Errors(NamedTuple):
    """Standard errors [D] of the mean and of the standard deviation."""

    mean: Vector
    std: Vector

    def within(self, tolerance: float, std: Vector) -> bool:
        """Whether both are below that fraction of the standard deviation, for every feature that varies."""
        varies = std > 0
        return bool((np.maximum(self.mean, self.std)[varies] <= tolerance * std[varies]).all())


class Sample:
    """Groups seen so far: of each the number of its entries, their sum and sum of squares about a shift, per feature.

    The standard errors are those of ratios of group totals (Cochran, Sampling Techniques, 3rd edition, 6.3), so that a
    thousand pixels of one image count as one image.
    """

    def __init__(self) -> None:
        self._shift: Vector | None = None
        self._parts: list[tuple[Vector, Vector, Vector]] = []
        self.units = 0
        self._next = _UNITS_BEFORE_FIRST_LOOK
        self._exponent = 0  # everything is in units of two to that power

    def add(self, array: Array, axis: int | tuple[int, ...] | None) -> None:
        features = features_of(array, axis)
        d = features.size
        grouped = features.rows.reshape(len(array), -1, d).astype(np.float64)
        keep = np.isfinite(grouped)
        if self._shift is None:
            self._exponent = int(unit_of(np.abs(np.where(keep, grouped, 0.0)).max(initial=0.0)))
        grouped = np.ldexp(grouped, -self._exponent) if self._exponent else grouped
        if self._shift is None:
            counts = np.maximum(keep.sum(axis=(0, 1)), 1)
            self._shift = np.where(keep, grouped, 0.0).sum(axis=(0, 1)) / counts
        moved = np.where(keep, grouped - self._shift, 0.0)
        self._parts.append((keep.sum(axis=1) * 1.0, moved.sum(axis=1), (moved**2).sum(axis=1)))
        self.units += len(array)

    @property
    def due(self) -> bool:
        """Whether it is time to look: each look costs, so that they grow apart."""
        if self.units < self._next:
            return False
        self._next = int(self.units * _GROWTH) + 1
        return True

    def errors(self) -> Errors:
        count, total, squares = (np.concatenate([part[k] for part in self._parts]) for k in range(3))
        if len(count) < 2:
            unknown = np.full(count.shape[1], np.inf)
            return Errors(unknown, unknown)
        n = count.sum(axis=0)
        with np.errstate(all="ignore"):
            mean = total.sum(axis=0) / n
            deviation = squares - 2 * mean * total + mean**2 * count  # of each group, about the mean of all
            variance = deviation.sum(axis=0) / n
            spread = len(count) / (len(count) - 1.0)
            of_mean = np.sqrt(spread * ((total - mean * count) ** 2).sum(axis=0)) / n
            of_variance = np.sqrt(spread * ((deviation - variance * count) ** 2).sum(axis=0)) / n
            return Errors(
                np.ldexp(of_mean, self._exponent), np.ldexp(of_variance / (2 * np.sqrt(variance)), self._exponent)
            )


def in_random_order(length: int, seed: int = 0) -> Iterator[Array]:
    """Indices of all entries, in random batches, each sorted."""
    order = np.random.default_rng(seed).permutation(length)
    step = max(1, min(_UNITS_BEFORE_FIRST_LOOK, length) // 10)
    for start in range(0, length, step):
        yield np.sort(order[start : start + step])
