"""What is asked of the numbers of one weight: their size, whether units repeat, whether they point one way."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import cached_property

import numpy as np

from wellposed.numerics.arrays import Vector, mean_square

_DISTINCT = 4  # numbers: so few are a pattern, as an identity is


class Weight:
    """Of an array; a framework may answer where its own lies."""

    def __init__(self, numbers: Vector) -> None:
        self._numbers = numbers

    @property
    def numbers(self) -> Vector:
        """All of them, in float64."""
        return self._numbers

    @property
    def shape(self) -> tuple[int, ...]:
        return self._numbers.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @cached_property
    def any(self) -> bool:
        """Whether one of them is not 0."""
        return bool(self._numbers.any())

    @cached_property
    def mean_square(self) -> tuple[float, float]:
        """See `numerics.arrays.mean_square`."""
        return mean_square(self._numbers)

    @cached_property
    def constant(self) -> float | None:
        """The number that all of them are; None where they are several."""
        return float(self._numbers.flat[0]) if self._numbers.size and np.ptp(self._numbers) == 0 else None

    @cached_property
    def patterned(self) -> bool:
        """Whether they are an identity, or another pattern of few different numbers that is meant."""
        some = np.unique(self._numbers.flat[: 16 * _DISTINCT])
        return some.size <= _DISTINCT and np.unique(self._numbers).size <= _DISTINCT

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal numbers in equal places."""
        return hashlib.blake2b(np.ascontiguousarray(self._numbers).tobytes()).digest()

    def repeated(self, axis: int) -> int:
        """How many units along this axis have the numbers of another."""
        return repeated_rows(per_unit(self._numbers, axis))

    def mean_cosine(self, axis: int) -> float:
        """Over all pairs of units: (|sum of unit rows|^2 - n) / (n (n - 1))."""
        rows = per_unit(self._numbers, axis)
        lengths = np.linalg.norm(rows, axis=1)
        unit = rows[lengths > 0] / lengths[lengths > 0][:, None]
        return cosine_of_pairs(float(np.sum(unit.sum(axis=0) ** 2)), len(unit))


def cosine_of_pairs(square_of_sum: float, count: int) -> float:
    """The mean cosine of the pairs among so many unit vectors, by the square of their sum; 0 for one alone."""
    return (square_of_sum - count) / (count * (count - 1)) if count > 1 else 0.0


def per_unit(array: Vector, axis: int) -> Vector:
    """One row for each unit along this axis."""
    moved: Vector = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    return moved


def repeated_rows(rows: Vector) -> int:
    """How many rows are equal to another."""
    counts = Counter(row.tobytes() for row in rows + 0.0)  # +0.0: no zero has a sign
    return sum(count for count in counts.values() if count > 1)
