"""Sums and sums of squares without rounding: the same, bit for bit, in whatever order rows come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np

from wellposed.numerics.arrays import Array, Vector

_DIGIT = 24  # bits of a limb: a product of two has 48, and 2^15 of them fit into 64
_ROWS = 1 << 15
_LOWEST = -1074  # the exponent of float64's smallest number
_GUARD = 80  # bits kept for a square root


@dataclass(frozen=True)
class Exact:
    """count [D], and the sums of x and x^2 as Python integers in units of 2^exponent and 4^exponent."""

    count: Vector
    s1: Array
    s2: Array
    exponent: int

    def mean(self) -> tuple[Vector, Vector]:
        """As `Shifted.mean`: the nearest float64, and the rest."""
        high, low = np.full(self.count.shape, np.nan), np.full(self.count.shape, np.nan)
        for j, (n, total) in enumerate(zip(self.count, self.s1, strict=True)):
            if n:
                high[j] = _ratio(total, int(n), self.exponent)
                numerator, denominator = float(high[j]).as_integer_ratio()
                # total 2^e / n - high, over one denominator
                scale = -min(self.exponent, 0)
                above = (total << max(self.exponent, 0)) * denominator - ((numerator * int(n)) << scale)
                low[j] = above / ((int(n) * denominator) << scale)
        return high, low

    def variance(self, ddof: float) -> Vector:
        found = np.full(self.count.shape, np.nan)
        for j in map(int, np.flatnonzero(self.count > ddof)):
            found[j] = _ratio(*self._fraction(j, ddof), 2 * self.exponent)
        return found

    def std(self, ddof: float) -> Vector:
        found = np.full(self.count.shape, np.nan)
        for j in map(int, np.flatnonzero(self.count > ddof)):
            numerator, denominator = self._fraction(j, ddof)
            # sqrt(p / q) = isqrt(p 4^k / q) / 2^k, k such that enough bits are left
            k = max(0, _GUARD + (denominator.bit_length() - numerator.bit_length()) // 2)
            found[j] = _ratio(isqrt((numerator << (2 * k)) // denominator), 1, self.exponent - k)
        return found

    def _fraction(self, j: int, ddof: float) -> tuple[int, int]:
        """The variance in units of 4^exponent: (n s2 - s1^2) / (n (n - ddof))."""
        n, (p, q) = int(self.count[j]), float(ddof).as_integer_ratio()
        return (n * self.s2[j] - self.s1[j] ** 2) * q, n * (n * q - p)

    @property
    def constant(self) -> Array:
        """[D]: all numbers seen are one."""
        return np.array(
            [n > 0 and int(n) * b == a * a for n, a, b in zip(self.count, self.s1, self.s2, strict=True)], dtype=bool
        )

    def stripped(self) -> Exact:
        """The same with the largest exponent, so that equal sums are written alike."""
        k = min((int(n & -n).bit_length() - 1 for n in (*self.s1, *self.s2) if n), default=-self.exponent)
        k = min(k, max(-self.exponent, 0))
        k = min([k, *((int(n & -n).bit_length() - 1) // 2 for n in self.s2 if n)])
        return Exact(self.count, self.s1 >> k, self.s2 >> (2 * k), self.exponent + k) if k else self

    def __add__(self, other: Exact) -> Exact:
        one, two, exponent = _alike(self, other)
        return Exact(one.count + two.count, one.s1 + two.s1, one.s2 + two.s2, exponent)

    def __sub__(self, other: Exact) -> Exact:
        one, two, exponent = _alike(self, other)
        return Exact(one.count - two.count, one.s1 - two.s1, one.s2 - two.s2, exponent)


def of_columns(values: Array, keep: Array) -> Exact:
    """The exact sums of each column of integers or floats [n, m] where `keep` is true."""
    total: Exact | None = None
    for start in range(0, max(len(values), 1), _ROWS):
        kept = keep[start : start + _ROWS]
        found = _of_block(np.where(kept, values[start : start + _ROWS], 0), kept.sum(axis=0).astype(np.float64))
        total = found if total is None else total + found
    assert total is not None
    return total


def of_sums(count: Vector, s1: Array, s2: Array) -> Exact:
    """From sums of integers that were kept exactly elsewhere."""
    return Exact(count, s1.astype(object), s2.astype(object), 0)


def beside(states: Sequence[Exact]) -> Exact:
    """The features of all of them, one after the other; all have one exponent."""
    parts = ((state.count, state.s1, state.s2) for state in states)
    count, s1, s2 = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Exact(count, s1, s2, states[0].exponent)


def _of_block(values: Array, count: Vector) -> Exact:
    m = values.shape[1]
    exponent = 0 if values.dtype.kind in "iub" else _LOWEST
    limbs = _of_integers(values) if values.dtype.kind in "iub" else _of_floats(values.astype(np.float64))
    s1, s2 = np.zeros(m, dtype=object), np.zeros(m, dtype=object)
    for a, (place, digits) in enumerate(limbs):
        s1 += digits.sum(axis=0).astype(object) * (1 << (place - exponent))
        for other_place, other in limbs[a:]:
            product = np.einsum("ij,ij->j", digits, other).astype(object) * (1 << (place + other_place - 2 * exponent))
            s2 += product if other is digits else 2 * product
    return Exact(count, s1, s2, exponent)


def _of_integers(values: Array) -> list[tuple[int, Array]]:
    """(place, limb): values are the sum of limb 2^place."""
    rest = values.astype(np.uint64 if values.dtype == np.uint64 else np.int64)
    limbs = []
    for place in (0, _DIGIT):
        limbs.append((place, (rest & rest.dtype.type((1 << _DIGIT) - 1)).astype(np.int64)))
        rest = rest >> rest.dtype.type(_DIGIT)
    return [limb for limb in [*limbs, (2 * _DIGIT, rest.astype(np.int64))] if limb[1].any()]


def _of_floats(values: Vector) -> list[tuple[int, Array]]:
    """As `_of_integers`, on a grid of places that is the same for all numbers."""
    limbs = []
    rest = values
    while rest.any():
        top = int(np.frexp(np.abs(rest).max())[1]) - 1
        place = max((top - _LOWEST) // _DIGIT * _DIGIT + _LOWEST, _LOWEST)
        digits = np.trunc(np.ldexp(rest, -place))
        rest = rest - np.ldexp(digits, place)  # both steps are exact
        limbs.append((place, digits.astype(np.int64)))
    return limbs


def _alike(one: Exact, two: Exact) -> tuple[Exact, Exact, int]:
    exponent = min(one.exponent, two.exponent)
    return _in_unit(one, exponent), _in_unit(two, exponent), exponent


def _in_unit(state: Exact, exponent: int) -> Exact:
    k = state.exponent - exponent
    return state if not k else Exact(state.count, state.s1 * (1 << k), state.s2 * (1 << 2 * k), exponent)


def _ratio(numerator: int, denominator: int, exponent: int) -> float:
    """numerator 2^exponent / denominator, correctly rounded; infinite where it is beyond float64."""
    try:
        return (numerator << max(exponent, 0)) / (denominator << max(-exponent, 0))
    except OverflowError:
        return float("inf") if numerator > 0 else float("-inf")
