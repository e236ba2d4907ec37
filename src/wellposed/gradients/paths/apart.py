"""What parts a tensor on one way from the same tensor in float64, over several points a little apart: rounding is
another one at each point, a fault is the same.

With d_k the difference at point k of K, its mean over the points holds what is systematic and 1/K of the variance of
what is not. So the square of what is systematic is |mean d|^2 - sum(var) / K, and under rounding alone K |mean d|^2 is
a weighted sum of chi-squared variables with the variances as weights (their degrees of freedom after Satterthwaite
1946). What rounding does systematically (constants rounded once, long means, units at a kink) is bounded by what the
reference shows in the same format, and by what rounding does at one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from wellposed.numerics.arrays import Array, Vector

POINTS = 4
"""At which each way is gone: with the reference at two of them and the candidate once more, 11 passes."""
ROUNDINGS = 2.0  # units: what constants that are rounded once may part a right way by, in slope or distance
ABOVE = 3.0  # times what the reference in the same format is apart
COSTS = 0.01
"""Relative: what rounding must take of a kernel's tensor for it to matter."""
MODEL_COSTS = 0.05
"""The same of a whole model's, for training to feel it."""
ROUGH = 4.0  # times its rounding: no order of summation makes so much
_CHANCE = 1e-8  # of a false alarm in a tensor, where rounding alone is at work
_DEVIATIONS = 8.0  # of a slope's own scatter, which is estimated from few points
_BEHIND = 0.05  # of a move
_ENOUGH = 16  # entries whose moves say anything
_CANCELLED = 1e-7  # of what the way has
_LONG_SUM, FINE = 100.0, 1e-5  # units; relative, below which no gradient needs to be right
_NOTHING = 0.1  # of a tensor: rounding beyond which it is rounding itself, as of a bias before a normalisation
_LONGEST = 65_536  # slices along an axis


@dataclass(frozen=True)
class Slices:
    """Of the slices of a tensor along one axis: the size of the exact ones, of what is systematically apart in each,
    and which are apart beyond rounding.
    """

    axis: int
    size: Vector
    apart: Vector
    wrong: Array


@dataclass(frozen=True)
class Apart:
    """A tensor on one way; all numbers are relative to its size.

    `slope` is <way, exact> / |exact|^2 with its standard error, `usual_slope` the reference's in the same format.
    `distance` is what is systematically apart, `usual` what may be; `noise` is rounding at one point, `rounding` the
    reference's. `mean` is the mean difference, `exact` the mean tensor. `beyond`: whether it is systematically another
    one; `rough`: whether it scatters beyond rounding; `stale`: whether it stays behind where the inputs move, by the
    share `behind`; `first` is the difference at the first point.
    """

    name: str
    size: float
    slope: float
    slope_error: float
    usual_slope: float
    distance: float
    usual: float
    noise: float
    rounding: float
    behind: float
    first: float
    beyond: bool
    rough: bool
    stale: bool
    mean: Array
    exact: Array
    slices: tuple[Slices, ...]

    @property
    def wrong(self) -> bool:
        return self.beyond or self.rough or self.stale

    @property
    def over_all(self) -> float:
        """The difference, of the whole tensor; 0 of one that is nothing but the rounding of what cancels."""
        if self.rounding > _NOTHING:
            return 0.0
        return max(self.distance, abs(self.slope - 1), self.noise if self.rough else 0.0)

    @property
    def worst(self) -> float:
        """The difference where it is largest: in one of the slices that are wrong, or all over."""
        shares = [
            float(np.max(along.apart[along.wrong] / np.maximum(along.size[along.wrong], 1e-3 * self.size)))
            for along in self.slices
            if along.wrong.any() and self.size
        ]
        return max([self.distance, *shares, self.noise if self.rough else 0.0])


def measure(
    name: str,
    exact: Sequence[Array],
    way: Sequence[Array],
    reference: Sequence[Array] | None,
    unit: float,
    least: float,
) -> Apart:
    """`exact` and `way`: the tensor at each of K points; `reference`, at the first of them, the reference's in the same
    format. `unit` is the format's unit roundoff, `least` its smallest number.
    """
    if exact[0].size == 0 or _cancels(exact, way):
        way, reference = exact, None
    differences = Differences.of(exact, way, reference)
    middle, size = differences.exact, float(np.linalg.norm(differences.exact))
    relative, floor = size or 1.0, least * np.sqrt(middle.size)
    (apart,), (usual,), (chance,), _ = differences.over(None)
    bound = max(floor_of(unit) * size, usual)
    slopes = _slopes(exact, way)
    tilt = float(np.mean(slopes)) - 1
    rest = _moments([one - (1 + tilt) * other for one, other in zip(way, exact, strict=True)])[1]
    error = _slope_error(slopes, rest, middle)
    usual_slopes = np.ones(POINTS) if reference is None else _slopes(exact[: len(reference)], reference)
    usual_tilt = abs(float(np.mean(usual_slopes)) - 1) - 2 * float(np.std(usual_slopes, ddof=1))
    tilted = abs(tilt) > max(floor_of(unit), ABOVE * usual_tilt, _DEVIATIONS * error) and abs(tilt) * size > floor
    slices = tuple(
        differences.slices(axis, unit, least) for axis in range(middle.ndim) if 1 < middle.shape[axis] <= _LONGEST
    )
    noise = float(np.sqrt(differences.variance.sum()))
    rounding = float(np.sqrt(differences.usual_variance.sum()))
    behind, behind_error = _behind(exact, way)
    behind -= tilt  # of a multiple, the moves are multiples too
    usual_behind = 0.0 if reference is None else abs(_behind(exact[: len(reference)], reference)[0])
    return Apart(
        name, size, tilt + 1, error, float(np.mean(usual_slopes)), apart / relative, bound / relative,
        noise / relative, rounding / relative, behind, float(np.linalg.norm(way[0] - exact[0])) / relative,
        beyond=bool(tilted or (chance < _CHANCE and apart > bound + floor) or any(s.wrong.any() for s in slices)),
        rough=reference is not None and noise > ROUGH * max(rounding, floor_of(unit) * size) + floor,
        stale=middle.size >= _ENOUGH and bool(behind < -max(_BEHIND, _DEVIATIONS * behind_error, ABOVE * usual_behind)),
        mean=differences.mean, exact=middle, slices=slices,
    )  # fmt: skip


def _cancels(exact: Sequence[Array], way: Sequence[Array]) -> bool:
    """Whether it is zero but for the rounding of float64: what is there in another format says nothing."""
    size, seen = (max(float(np.abs(one).max()) for one in points) for points in (exact, way))
    return 0 < size < _CANCELLED * seen


@dataclass(frozen=True)
class Differences:
    """To the exact tensor: the mean over the points and the variance of one, those of the reference over its `points`,
    and the exact tensor's mean.
    """

    mean: Array
    variance: Array
    usual: Array
    usual_variance: Array
    points: int
    exact: Array

    @staticmethod
    def of(exact: Sequence[Array], way: Sequence[Array], reference: Sequence[Array] | None) -> Differences:
        mean, variance = _moments([one - other for one, other in zip(way, exact, strict=True)])
        usual, usual_variance = np.zeros_like(mean), variance
        if reference is not None:  # at fewer points
            usual, usual_variance = _moments([one - other for one, other in zip(reference, exact, strict=False)])
        points = len(reference) if reference is not None else POINTS
        return Differences(mean, variance, usual, usual_variance, points, np.mean(exact, axis=0))

    def over(self, axis: int | None) -> tuple[Vector, Vector, Vector, Vector]:
        """Of the slices along an axis, of everything for None: what is systematically apart, what may be, the chance of
        so large a mean where only rounding is at work, and the exact size.
        """

        def total(values: Array) -> Vector:
            return sums_along(values, axis)

        noise = np.maximum(self.variance, self.usual_variance)
        noise = (noise + (noise.mean() if noise.size else 0.0)) / 2  # few points tell little of one entry
        expected, squares, seen = total(noise) / POINTS, total(noise**2) / POINTS**2, total(self.mean**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.where(squares > 0, expected**2 / squares, 1.0)
            surprise = special.chdtrc(freedom, seen / expected * freedom)
            chance = np.where(expected > 0, surprise, np.where(seen > 0, 0.0, 1.0))
        systematic = total(self.usual**2) - total(self.usual_variance) / self.points
        usual = np.sqrt(np.maximum(total(noise), ABOVE**2 * systematic))
        return np.sqrt(np.maximum(seen - expected, 0.0)), usual, chance, np.sqrt(total(self.exact**2))

    def slices(self, axis: int, unit: float, least: float) -> Slices:
        apart, usual, chance, size = self.over(axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            typical = float(np.nanmedian(np.where(size > 0, usual / size, np.nan))) if (size > 0).any() else 0.0
        bound = np.maximum(floor_of(unit) * size, np.maximum(usual, typical * size))
        floor = least * np.sqrt(self.mean.size / len(apart))
        return Slices(axis, size, apart, (chance < _CHANCE / len(apart)) & (apart > bound + floor))


def floor_of(unit: float) -> float:
    """What a right way in this format may be apart by, relative: in a fine one the order of a long sum counts for more
    than constants.
    """
    return max(ROUNDINGS * unit, min(_LONG_SUM * unit, FINE))


def sums_along(values: Array, axis: int | None) -> Vector:
    """Of each slice along an axis, of everything for None."""
    if axis is None:
        return np.atleast_1d(values.sum())
    found: Vector = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).sum(axis=1)
    return found


def _moments(differences: Sequence[Array]) -> tuple[Array, Array]:
    """The mean, and the variance of one of them."""
    return np.mean(differences, axis=0), np.var(differences, axis=0, ddof=1)


def _slopes(exact: Sequence[Array], way: Sequence[Array]) -> Vector:
    pairs = [(float(np.vdot(one, other)), float(np.vdot(one, one))) for one, other in zip(exact, way, strict=True)]
    return np.array([product / square if square else 1.0 for product, square in pairs])


def _slope_error(slopes: Vector, variance: Array, middle: Array) -> float:
    """The larger of the scatter over the points and of White's error (1980) from the variances of what is left."""
    square = float(np.vdot(middle, middle))
    white = float(np.sqrt((variance * middle**2).sum())) / square if square else 0.0
    return max(white, float(np.std(slopes, ddof=1))) / float(np.sqrt(len(slopes)))


def _behind(exact: Sequence[Array], way: Sequence[Array]) -> tuple[float, float]:
    """By what share of its moves it runs ahead (behind, below 0), with the standard error."""
    moves = [one - exact[0] for one in exact[1:]]
    late = [one - other - (way[0] - exact[0]) for one, other in zip(way[1:], exact[1:], strict=True)]
    square = sum(float(np.vdot(move, move)) for move in moves)
    if not square:
        return 0.0, np.inf
    share = sum(float(np.vdot(one, move)) for one, move in zip(late, moves, strict=True)) / square
    spread = sum(float(np.vdot(one, one)) for one in late) / square / (len(moves) * exact[0].size)
    return share, float(np.sqrt(spread))
