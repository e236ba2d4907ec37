"""Count, mean and squared deviations of D features, in a form that merges without losing digits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellposed.numerics.arrays import Array, Vector

FIELDS = ("count", "shift", "offset", "m2", "rest", "unit")
ORDINARY = 200  # powers of two: squares of numbers within 2^-200 and 2^200 neither overflow nor vanish


@dataclass(frozen=True)
class Shifted:
    """The state (count, shift, offset, m2), never collapsed to one mean; all arrays have shape [D].

    The mean is shift + offset, in units of 2^unit, with |offset| small beside the spread: two states merge by
    differences of shifts, which are exact for nearby shifts (Chan, Golub, LeVeque 1979 and 1983, on shifted data). m2 +
    rest are the squared deviations, in units of 4^unit: `rest` is what rounding would have taken from the sum (Knuth's
    two-sum).
    """

    count: Vector
    shift: Vector
    offset: Vector
    m2: Vector
    rest: Vector
    unit: Array

    @staticmethod
    def empty(d: int) -> Shifted:
        zero = np.zeros(d)
        return Shifted(zero, zero, zero, zero, zero, np.zeros(d, dtype=np.int64))

    def mean(self) -> tuple[Vector, Vector]:
        """In two parts, of which the second is less than half a unit in the last place of the first; NaN where nothing
        was seen.
        """
        high, low = _two_sum(self.shift, self.offset)
        high, low = np.ldexp(high, self.unit), np.ldexp(low, self.unit)
        return np.where(self.count > 0, high, np.nan), np.where(self.count > 0, low, np.nan)

    def variance(self, ddof: float) -> Vector:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(self._mean_square(ddof), 2 * self.unit))

    def std(self, ddof: float) -> Vector:
        return np.asarray(np.ldexp(np.sqrt(self._mean_square(ddof)), self.unit))

    def _mean_square(self, ddof: float) -> Vector:
        found = np.full(self.count.shape, np.nan)
        np.divide(np.maximum(self.m2 + self.rest, 0.0), self.count - ddof, out=found, where=self.count > ddof)
        return found

    def __add__(self, other: Shifted) -> Shifted:
        one, two, unit = _alike(self, other)
        count = one.count + two.count
        first = one.count == 0
        shift, mine = np.where(first, two.shift, one.shift), np.where(first, 0.0, one.offset)
        share = np.divide(two.count, count, out=np.zeros_like(count), where=count > 0)
        delta = np.where(first | (two.count == 0), 0.0, (two.shift - shift) + (two.offset - mine))
        m2, lost = _two_sum(one.m2, two.m2)
        m2, more = _two_sum(m2, delta * delta * share * one.count)
        offset = np.where(first, two.offset, mine + delta * share)
        return Shifted(count, shift, offset, m2, one.rest + two.rest + lost + more, unit)

    def __sub__(self, other: Shifted) -> Shifted:
        """Without the rows of `other`, which must be among this state's."""
        one, two, unit = _alike(self, other)
        count = np.maximum(one.count - two.count, 0.0)
        left = count > 0
        share = np.divide(two.count, count, out=np.zeros_like(count), where=left)
        delta = np.where(two.count > 0, (two.shift - one.shift) + (two.offset - one.offset), 0.0)
        m2, lost = _two_sum(one.m2, -two.m2)
        m2, more = _two_sum(m2, -delta * delta * share * one.count)
        rest = one.rest - two.rest + lost + more
        offset = np.where(left, one.offset - delta * share, 0.0)
        return Shifted(
            count, np.where(left, one.shift, 0.0), offset, np.where(left, m2, 0.0), np.where(left, rest, 0.0), unit
        )

    def parts(self) -> dict[str, Array]:
        return {name: vars(self)[name] for name in FIELDS}

    def __getitem__(self, index: Array | slice) -> Shifted:
        return Shifted(**{name: part[index] for name, part in self.parts().items()})


def unit_of(size: Vector) -> Array:
    """The power of two in whose units numbers up to `size` are kept: 0 unless their squares would leave float64's
    range.
    """
    exponent = np.frexp(size)[1].astype(np.int64)
    return np.where((size > 0) & (np.abs(exponent) > ORDINARY), exponent, 0)


def of_columns(values: Vector, keep: Array, weights: Vector | None = None) -> Shifted:
    """The state of each column of float64 values [n, m] where `keep` is true; weights have shape [n].

    The corrected two-pass algorithm (Chan, Golub, LeVeque 1983), on numbers scaled by a power of two where their
    squares would leave float64's range.
    """
    share = keep * 1.0 if weights is None else keep * weights[:, None]
    count = share.sum(axis=0)
    size = np.abs(values, where=keep, out=np.zeros_like(values)).max(axis=0, initial=0.0)
    unit = unit_of(size)
    scaled = np.ldexp(values, -unit) if unit.any() else values
    first = scaled[np.argmax(keep, axis=0), np.arange(values.shape[1])] if len(values) else np.zeros(values.shape[1])
    shift = np.where(keep.any(axis=0), first, 0.0)
    centred = np.where(keep, scaled - shift, 0.0)
    offset = _mean(centred, share, count)
    residual = np.where(keep, centred - offset, 0.0)
    # The offset is rounded; what the residuals' mean shows of that goes back into it.
    correction = _mean(residual, share, count)
    m2 = (share * residual * residual).sum(axis=0) - count * correction * correction
    return Shifted(count, shift, offset + correction, np.maximum(m2, 0.0), np.zeros_like(m2), unit)


def fold(state: Shifted, copies: int, *, major: bool) -> Shifted:
    """D features of which `copies` columns each were kept apart: merged in pairs. `major` where a feature's columns lie
    side by side.
    """
    shape = (-1, copies) if major else (copies, -1)
    columns = np.arange(state.count.size).reshape(shape)
    columns = columns.T if major else columns
    while len(columns) > 1:
        half = len(columns) // 2
        merged = state[columns[:half].ravel()] + state[columns[half : 2 * half].ravel()]
        rest = state[columns[2 * half :].ravel()]
        state = beside([merged, rest])
        columns = np.arange(state.count.size).reshape(half + len(columns) - 2 * half, -1)
    return state


def beside(states: Sequence[Shifted]) -> Shifted:
    """The features of all of them, one after the other."""
    return Shifted(**{name: np.concatenate([state.parts()[name] for state in states]) for name in FIELDS})


def _alike(one: Shifted, two: Shifted) -> tuple[Shifted, Shifted, Array]:
    """Both in the larger unit of the two; where nothing or only zeros were seen, any unit will do."""
    if np.array_equal(one.unit, two.unit):
        return one, two, one.unit
    least = np.iinfo(np.int64).min
    units = [
        np.where((s.count > 0) & ((s.shift != 0) | (s.offset != 0) | (s.m2 > 0)), s.unit, least) for s in (one, two)
    ]
    unit = np.maximum(*units)
    unit = np.where(unit == least, 0, unit)
    return _in_unit(one, unit), _in_unit(two, unit), unit


def _in_unit(state: Shifted, unit: Array) -> Shifted:
    k = np.where(state.count > 0, state.unit - unit, 0)
    return Shifted(
        state.count,
        np.ldexp(state.shift, k),
        np.ldexp(state.offset, k),
        np.ldexp(state.m2, 2 * k),
        np.ldexp(state.rest, 2 * k),
        unit,
    )


def _two_sum(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """a + b and what rounding took from it, exactly (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _mean(values: Vector, share: Vector, count: Vector) -> Vector:
    sums: Vector = (share * values).sum(axis=0)
    return np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
