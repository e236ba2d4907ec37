"""Choosing the step: halfway between the noise of f (small steps) and its curvature (large ones).

A ladder of central differences, each step a quarter of the one above, starts where noise and
curvature balance for a function that changes over the given scale. It is extended upwards while
noise rules the error, downwards while truncation rules it. Every rung is judged by its neighbours:
what changes from one rung to the next is truncation, what may change is noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log2

import numpy as np

from wellposed.derivatives.estimate import Slope
from wellposed.derivatives.noise import noise_level
from wellposed.derivatives.stencils import central, extrapolated, extrapolated_noise

RATIO = 4.0
CONSTANT = "the function does not change, to the last digit, within reach of the point"
_MOST_RUNGS = 10
_REACH = 64.0  # steps up to this many times the scale are tried
_KINK = 1e-4  # a smaller change of slope, beside the slope itself, is not called a kink
_SIGMAS = 4.0  # noise bars at four standard deviations


@dataclass(frozen=True, slots=True)
class _Rung:
    h: float
    above: float
    below: float
    noise: float  # error bar of `slope` by noise alone

    @property
    def slope(self) -> float:
        return central(self.above, self.below, self.h)


@dataclass(frozen=True, slots=True)
class _Candidate:
    value: float
    truncation: float
    noise: float
    h: float  # the widest step that went in

    @property
    def error(self) -> float:
        return self.truncation + self.noise


def slope(
    f: Callable[[float], float],
    *,
    scale: float = 1.0,
    eps: float = 2.0**-52,
    f0: float | None = None,
    noise: float | None = None,
) -> Slope:
    """f'(0) by two-sided differences, with an error bar, a kink or jump at 0 recognised.

    `scale` is a length over which f is expected to change (a guess within a few powers of ten
    does), `eps` the precision of f's values, `noise` the standard deviation of f's rounding noise
    if it is known (it is measured otherwise).
    """
    evaluations = 0
    if f0 is None:
        f0, evaluations = float(f(0.0)), 1
    if not isfinite(f0):
        return Slope(np.nan, np.inf, np.nan, evaluations, "the function is not finite at the point")
    if noise is None:
        noise, used = noise_level(f, scale, eps)
        evaluations += used
        if not isfinite(noise):
            return Slope(np.nan, np.inf, np.nan, evaluations, "the function is not finite near the point")
    ladder = _Ladder(f, f0, scale, eps, noise)
    if not ladder.finite:
        return Slope(np.nan, np.inf, np.nan, evaluations + ladder.evaluations, "the function is not finite near the point")
    best = ladder.best()
    evaluations += ladder.evaluations
    if ladder.constant and noise == 0.0:
        return Slope(0.0, best.error, best.h, evaluations, CONSTANT)
    left, right, jump = ladder.sides()
    return Slope(best.value, best.error, best.h, evaluations, "", left, right, jump)


class _Ladder:
    def __init__(self, f: Callable[[float], float], f0: float, scale: float, eps: float, noise: float) -> None:
        self._f, self._f0, self._scale, self._eps = f, f0, scale, eps
        self._noise = max(noise, eps * abs(f0))
        self._rungs: list[_Rung] = []  # by rising h
        relative = self._noise / abs(f0) if f0 else eps
        # A power of two: x + h and x - h are then exact, and 2h is the displacement really made.
        start = 2.0 ** round(log2(scale * min(max(relative, eps), 0.1) ** 0.25))
        for h in (start, start / RATIO, start / RATIO**2):
            self._add(h)
        while len(self._rungs) < _MOST_RUNGS and self.finite and not self.constant:
            best = min(self._candidates(), key=lambda candidate: candidate.error)
            lowest, highest = self._rungs[0].h, self._rungs[-1].h
            if best.truncation > best.noise and best.h <= lowest * RATIO**2 * 1.5:
                self._add(lowest / RATIO)
            elif best.truncation <= best.noise and best.h >= highest and highest < _REACH * scale:
                self._add(highest * RATIO)
            else:
                break

    @property
    def evaluations(self) -> int:
        return 2 * len(self._rungs)

    @property
    def finite(self) -> bool:
        return all(isfinite(rung.above) and isfinite(rung.below) for rung in self._rungs)

    @property
    def constant(self) -> bool:
        return all(rung.above == self._f0 == rung.below for rung in self._rungs)

    def _add(self, h: float) -> None:
        above, below = float(self._f(h)), float(self._f(-h))
        rounding = 0.5 * self._eps * max(abs(above), abs(below))
        self._rungs.append(_Rung(h, above, below, _SIGMAS * max(self._noise, rounding) / h))
        self._rungs.sort(key=lambda rung: rung.h)

    def best(self) -> _Candidate:
        """The candidate of least error that agrees with every finer rung within both bars."""
        best = min(self._candidates(), key=lambda candidate: candidate.error)
        for rung, wider in pairwise(self._rungs):
            # Coarse rungs can agree by accident (a step of one period); a finer one, whose own error is known to be less, unmasks them.
            gap = abs(rung.slope - best.value) - rung.noise - abs(wider.slope - rung.slope)
            if rung.h < best.h and gap > best.error:
                best = _Candidate(best.value, best.truncation + gap, best.noise, best.h)
        return best

    def _candidates(self) -> list[_Candidate]:
        found = []
        slopes = [rung.slope for rung in self._rungs]
        gaps = [abs(coarse - fine) for fine, coarse in pairwise(slopes)]
        for index, (fine, coarse) in enumerate(pairwise(self._rungs)):
            gap = gaps[index]
            wider = gaps[index + 1] if index + 1 < len(gaps) else 0.0
            # Truncation falls as h^2 where f is smooth at this size, and as h or slower where kinks are crossed.
            smooth = wider > 0.5 * RATIO**2 * gap
            rough = max(gap, wider / RATIO)
            found.append(_Candidate(fine.slope, 0.25 * gap if smooth else rough, fine.noise, fine.h))
            found.append(_Candidate(coarse.slope, 1.5 * gap if smooth else 1.5 * rough, coarse.noise, coarse.h))
            if index and gap > 0.5 * RATIO**2 * gaps[index - 1]:
                value = extrapolated(coarse.slope, fine.slope, RATIO)
                finer = extrapolated(fine.slope, slopes[index - 1], RATIO)
                noise = extrapolated_noise(coarse.noise, fine.noise, RATIO)
                found.append(_Candidate(value, 2 * abs(value - finer), noise, coarse.h))
        return found

    def sides(self) -> tuple[float, float, bool]:
        """The one-sided derivatives and whether f jumps; (nan, nan, False) where f is smooth at 0.

        D+ - D- = h f'' for a smooth f: it falls with h. At a kink it stays, at a jump it grows as
        1/h, and so does the central difference where f jumps between -h and h. Three rungs must agree.
        """
        finest = self._rungs[:3]
        right = (finest[0].above - self._f0) / finest[0].h
        left = (self._f0 - finest[0].below) / finest[0].h
        for values in ([self._asymmetry(rung) for rung in finest], [rung.slope for rung in finest]):
            seen = all(abs(value) > 4 * rung.noise for value, rung in zip(values, finest, strict=True))
            growth = [fine / coarse for fine, coarse in pairwise(values) if coarse]
            if seen and all(abs(ratio - RATIO) < 0.5 for ratio in growth):
                return left, right, True
        gaps = [self._asymmetry(rung) for rung in finest]
        seen = all(abs(gap) > 4 * rung.noise for gap, rung in zip(gaps, finest, strict=True))
        matters = abs(gaps[0]) > _KINK * max(abs(left), abs(right))
        if seen and matters and all(abs(fine / coarse - 1) < 0.4 for fine, coarse in pairwise(gaps)):
            return left, right, False
        return np.nan, np.nan, False

    def _asymmetry(self, rung: _Rung) -> float:
        return (rung.above - 2 * self._f0 + rung.below) / rung.h
