"""How noisy is a computed function? Hamming's difference table (Moré & Wild 2011, "ECnoise")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import comb, hypot, inf, isfinite, nan, sqrt
from typing import NamedTuple

from wellposed.derivatives.coroutines import Asking

_FINE_EPS = 1e-6  # float32 and finer
_ULPS_APART, _COARSE_ULPS_APART = 256.0, 4.0  # between two points of the grid, in units of eps

ORDER = 0.18
"""The first step of a ladder is the scale times (noise / change)^0.18: between the powers 1/3 and 1/7 that orders 2 and
6 ask for.
"""

UNEVEN = 1.1234567
"""Steps must not be round numbers: f would compute them more exactly than others, and hide its rounding."""

_GRID = (1.0, 2.2360680, 3.1415927, 4.4142136)
"""Points of the grid in units of its spacing: on an even one, the rounding of a factor within f may come out as a
straight line.
"""

_WIDEN = 16.0
_APART = 30.0


class Noise(NamedTuple):
    """What a fine grid beside the point shows of f.

    `level`: the standard deviation of its noise (NaN where f is not finite, 0 where it is constant or a straight line
    to the last digit); `slope` and `doubt`: the slope there and four standard deviations of it; `evaluations`;
    `stairs`: the height of a stair where f is constant over the finest grid and changes over a wider one, else 0.
    """

    level: float
    slope: float
    doubt: float
    evaluations: int
    stairs: float = 0.0


def noise_level(scale: float, eps: float, f0: float = nan, room: tuple[float, float] = (inf, inf)) -> Asking[Noise]:
    """The noise of f beside t = 0.

    On a grid so fine that f itself is a straight line, the second and higher differences of f are noise alone. `scale`
    is the length over which f changes, `eps` the precision of its values, `f0` is f(0), `room` how far t may go to the
    left and to the right. The grid lies on one side of 0, and f0 counts only where it fits, so that a kink or a jump at
    0 itself is not taken for noise. Where the grid is so fine that the values repeat or climb in even steps, it is
    widened.
    """
    spacing = min(
        UNEVEN * scale * eps * (_ULPS_APART if eps < _FINE_EPS else _COARSE_ULPS_APART), max(room) / (_GRID[-1] + 1)
    )
    side = 1.0 if room[1] >= room[0] else -1.0
    # A function that is constant even here is constant near the point; where it changes further out, that is no noise.
    widest = scale * eps**ORDER / 64
    used, repeated, even = 0, False, 0
    while True:
        if not isfinite(spacing):
            return Noise(nan, nan, inf, used)
        found = yield [side * spacing * k for k in _GRID]
        used += len(_GRID)
        points, values = [made for made, _ in found], [value for _, value in found]
        if not all(map(isfinite, values)):
            return Noise(nan, nan, inf, used)
        steps = [above - below for below, above in pairwise(values)]
        length = points[-1] - points[0]
        even += len(set(steps)) == 1 and any(steps)
        last = spacing * _WIDEN > widest or even > 1 or not length
        if (len(set(steps)) > 1 and steps.count(0.0) <= 1) or last:
            level = _spread(_straightened(points, values))
            with_f0 = _spread(_straightened([0.0, *points], [f0, *values])) if isfinite(f0) else 0.0
            # Values on a staircase: the noise is the height of a stair.
            stair = max(map(abs, steps)) / sqrt(12) if 0.0 in steps or (repeated and last) else 0.0
            level = max(level, stair, with_f0 if with_f0 < _APART * level else 0.0)
            # Few points may have been lucky: the slope is no better known than the rounding of the values lets it be.
            unsure = max(level, eps * max(map(abs, values)))
            slope, doubt = (sum(steps) / length, 4 * unsure / abs(length)) if length else (nan, inf)
            return Noise(level, slope, doubt, used, _stairs(steps, values, eps, repeated))
        spacing *= _WIDEN if any(steps) else _WIDEN**2
        repeated |= not all(steps)


def _stairs(steps: Sequence[float], values: Sequence[float], eps: float, repeated: bool) -> float:
    highest, rounding = max(map(abs, steps)), eps * max(map(abs, values))
    # Some neighbours equal, others many roundings apart: no smooth function of that precision does that.
    stairs = highest > 4 * rounding if repeated else 0.0 in steps and highest > 64 * rounding
    return highest if stairs else 0.0


def _straightened(points: Sequence[float], values: Sequence[float]) -> list[float]:
    """The values as they would be on an even grid: points were rounded when they were made."""
    length = points[-1] - points[0]
    slope = (values[-1] - values[0]) / length if length else 0.0
    even = length / (len(points) - 1)
    return [
        value - slope * (point - points[0] - k * even)
        for k, (point, value) in enumerate(zip(points, values, strict=True))
    ]


def _spread(values: Sequence[float]) -> float:
    """sigma^2 = (k!)^2 / (2k)! mean(T_k^2) for the k-th differences T_k of noise, k >= 2; the largest."""
    differences, levels = list(values), []
    for k in range(1, len(values)):
        differences = [above - below for below, above in pairwise(differences)]
        if k >= 2:
            levels.append(hypot(*differences) / sqrt(len(differences) * comb(2 * k, k)))
    return max(levels)
