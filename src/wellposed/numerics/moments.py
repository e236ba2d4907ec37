"""Mean, variance and extremes per feature, in a form that merges without losing digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.numerics.arrays import Array, Vector

_BLOCK = 1 << 20  # entries turned to float64 at a time: about 8 MB


@dataclass(frozen=True)
class Moments:
    """The state (count, shift, offset, m2) of D features, which is never collapsed to one mean.

    The mean is `shift + offset` with |offset| small beside the spread, so two states merge by
    differences of shifts, which are exact for nearby shifts (Chan, Golub, LeVeque 1983, on shifted
    data). NaN and infinity are counted and otherwise skipped.

    All arrays have shape [D]. `min` and `max` are of finite values; NaN where a feature has none.
    """

    count: Vector
    shift: Vector
    offset: Vector
    m2: Vector
    min: Vector
    max: Vector
    nan_count: Vector
    inf_count: Vector

    @property
    def mean(self) -> Vector:
        mean: Vector = np.where(self.count > 0, self.shift + self.offset, np.nan)
        return mean

    @property
    def var(self) -> Vector:
        """Population variance (ddof = 0); NaN where nothing finite was seen."""
        return self.variance()

    def variance(self, ddof: int = 0) -> Vector:
        """M2 / (count - ddof), shape [D]; NaN where count <= ddof."""
        with np.errstate(invalid="ignore", divide="ignore"):
            variance: Vector = np.where(self.count > ddof, self.m2 / (self.count - ddof), np.nan)
        return variance

    @property
    def std(self) -> Vector:
        return np.asarray(np.sqrt(self.var))

    @property
    def constant(self) -> Array:
        """Boolean [D]: every finite value seen was the same number. No threshold is involved."""
        constant: Array = (self.count > 0) & (self.min == self.max)
        return constant

    @staticmethod
    def of(rows: Array) -> Moments:
        """The state of an array of shape [N, D], any real dtype, accumulated in float64 by blocks."""
        if rows.ndim != 2:
            raise ValueError(f"Moments.of takes [N, D], not {rows.ndim} dimensions")
        step = max(1, _BLOCK // max(1, rows.shape[1]))
        total = _of_block(rows[:step])
        for start in range(step, rows.shape[0], step):
            total = total + _of_block(rows[start : start + step])
        return total

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        empty = self.count == 0
        shift = np.where(empty, other.shift, self.shift)
        mine = np.where(empty, 0.0, self.offset)
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        delta = np.where(empty | (other.count == 0), 0.0, (other.shift - shift) + (other.offset - mine))
        return Moments(
            count=count,
            shift=shift,
            offset=np.where(empty, other.offset, mine + delta * share),
            m2=self.m2 + other.m2 + delta * delta * share * self.count,
            min=np.fmin(self.min, other.min),
            max=np.fmax(self.max, other.max),
            nan_count=self.nan_count + other.nan_count,
            inf_count=self.inf_count + other.inf_count,
        )


def _of_block(block: Array) -> Moments:
    # float64 before any arithmetic: float32 sums lose the variance of a column with a large mean.
    values = np.asarray(block, dtype=np.float64)
    if len(values) == 0:
        zero, none = np.zeros(values.shape[1]), np.full(values.shape[1], np.nan)
        return Moments(zero, zero, zero, zero, none, none, zero, zero)
    nan, infinite = np.isnan(values), np.isinf(values)
    finite = ~(nan | infinite)
    count = finite.sum(axis=0).astype(np.float64)
    seen = count > 0
    shift = np.where(seen, values[np.argmax(finite, axis=0), np.arange(values.shape[1])], 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        centred = np.where(finite, values - shift, 0.0)
        offset = _mean(centred, count)
        residual = np.where(finite, centred - offset, 0.0)
        # The offset is rounded; what the residuals' mean shows of that goes back into it
        # (the corrected two-pass algorithm of Chan, Golub, LeVeque 1983).
        correction = _mean(residual, count)
        m2 = (residual * residual).sum(axis=0) - count * correction * correction
    return Moments(
        count=count,
        shift=shift,
        offset=offset + correction,
        m2=np.maximum(m2, 0.0),
        min=np.where(seen, np.where(finite, values, np.inf).min(axis=0), np.nan),
        max=np.where(seen, np.where(finite, values, -np.inf).max(axis=0), np.nan),
        nan_count=nan.sum(axis=0).astype(np.float64),
        inf_count=infinite.sum(axis=0).astype(np.float64),
    )


def _mean(values: Vector, count: Vector) -> Vector:
    sums: Vector = values.sum(axis=0)
    return np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
