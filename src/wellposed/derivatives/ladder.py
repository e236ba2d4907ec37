"""Values of f at a ladder of steps around 0, and the differences that can be made of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import hypot, isfinite, ldexp, nan, sqrt

from wellposed.derivatives.coroutines import Answer
from wellposed.derivatives.stencils import coefficients
from wellposed.numerics.floats import FORMATS

_AGREEING_RUNGS = 3
_RUNGS_OF_CHANGE = 4  # neighbours, for two ratios of changes

RATIO = 4
SIGMAS = 4.0
"""Noise bars are four standard deviations wide."""

_HALF_ULP = 0.5  # units in the last place
_KINK = 1e-4  # a smaller change of slope, beside the slope itself, is not called a kink
_KINK_BARS = 6.0  # bars that a kink or jump must exceed
_STEADY = 1.25  # ratios closer than that follow one power of h

_SMALLEST = {known.eps: known.smallest for known in FORMATS.values()}
"""By precision: below the normal numbers of a format all are multiples of one."""


def _rounding(eps: float, size: float) -> float:
    """What a computed value of that size is off by at least, in the worst case."""
    return max(_HALF_ULP * eps * abs(size), _SMALLEST.get(eps, FORMATS["float64"].smallest) if size else 0.0)


Window = tuple[int, ...]
"""Neighbouring rungs, finest first."""


@lru_cache(maxsize=4096)
def _weights(rungs: Window, side: int) -> tuple[float, ...]:
    """Weights of f(0) and of each rung's two values, in units of the finest step."""
    steps = [Fraction(RATIO) ** (rung - rungs[0]) for rung in rungs]
    if side:
        nodes = [Fraction(0), *(side * k * step for step in steps for k in (1, 2))]
        return tuple(map(float, coefficients(tuple(nodes))))
    return (0.0, *map(float, coefficients(tuple(node for step in steps for node in (-step, step)))))


class Ladder:
    """Rung k holds the values at the step h = base * 4^k: at -h and h or, with `side` = 1 or -1, at side * h and side *
    2h.

    `noise` is the standard deviation of f's noise, `eps` the precision of its values.
    """

    def __init__(self, f0: float, eps: float, noise: float, base: float, side: int) -> None:
        self.f0, self.eps, self.base, self.side = f0, eps, base, side
        self.noise = max(noise, _rounding(eps, f0))
        self.rungs: list[int] = []
        self.values: dict[int, tuple[float, float]] = {}
        self._slopes: dict[Window, float] = {}
        self._bars: dict[Window, float] = {}

    def step(self, rung: int) -> float:
        return ldexp(self.base, 2 * rung)

    def points(self, rung: int) -> tuple[float, float]:
        h = self.step(rung)
        return (self.side * h, 2 * self.side * h) if self.side else (-h, h)

    def add(self, rung: int, found: Answer) -> None:
        """Points were rounded when they were made: each value is carried along the slope to where it was meant to
        be.
        """
        (first, low), (second, high) = found
        tilt = (high - low) / (second - first) if second != first and isfinite(high - low) else 0.0
        aims = self.points(rung)
        self.values[rung] = (low + tilt * (aims[0] - first), high + tilt * (aims[1] - second))
        self.rungs = sorted(self.values)

    def drop(self, rung: int) -> None:
        del self.values[rung]
        self.rungs.remove(rung)

    def louder(self, noise: float) -> None:
        self.noise = noise
        self._bars.clear()

    def finite(self, rung: int) -> bool:
        return all(map(isfinite, self.values[rung]))

    @property
    def constant(self) -> bool:
        return all(pair == (self.f0, self.f0) for pair in self.values.values())

    def flat_near(self) -> bool:
        """Whether f is exactly f(0) at the finest rung and not at the widest."""
        return self.values[self.rungs[0]] == (self.f0, self.f0) and not self.constant

    def slope(self, window: Window) -> float:
        """f'(0) by the formula of highest order through all points of these rungs."""
        if window not in self._slopes:
            weights = _weights(tuple(rung - window[0] for rung in window), self.side)
            rises = [value - self.f0 for rung in window for value in self.values[rung]]
            self._slopes[window] = sum(w * rise for w, rise in zip(weights[1:], rises, strict=True)) / self.step(
                window[0]
            )
        return self._slopes[window]

    def bar(self, window: Window) -> float:
        """What noise and rounding can do to that."""
        if window not in self._bars:
            weights = _weights(tuple(rung - window[0] for rung in window), self.side)
            sizes = [abs(self.f0), *(abs(value) for rung in window for value in self.values[rung])]
            noises = [max(self.noise, _rounding(self.eps, size)) for size in sizes]
            total = hypot(*(w * noise for w, noise in zip(weights, noises, strict=True)))
            self._bars[window] = SIGMAS * total / self.step(window[0])
        return self._bars[window]

    def smooth(self, count: int) -> bool:
        """Whether the plain differences of the `count` finest rungs approach each other as h^2 or h^4, as far as noise
        lets one see.
        """
        finest = self.rungs[:count]
        slopes = [self.slope((rung,)) for rung in finest]
        gaps = [abs(coarse - fine) for fine, coarse in pairwise(slopes)]
        pairs = zip(gaps, gaps[1:], (self.bar((rung,)) for rung in finest), strict=False)
        return all(
            fine <= 2 * coarse / RATIO**2 + bar and coarse <= RATIO**4 * (fine + bar) for fine, coarse, bar in pairs
        )

    def asymmetry(self, rung: int) -> float:
        """D+ - D-: the difference of the one-sided slopes."""
        return self._bend(rung) / self.step(rung)

    def hidden_kink(self, highest: int) -> float:
        """Half the change of slope where D+ - D- does not fall with h below a rung, as it does for smooth f; 0 where it
        does or is not seen."""
        if self.side:
            return 0.0
        found = 0.0
        for fine, coarse in pairwise(rung for rung in self.rungs if rung <= highest):
            below, above = abs(self.asymmetry(fine)), abs(self.asymmetry(coarse))
            if below > max(self.bar((fine,)), above / 2) and above > self.bar((coarse,)):
                found = max(found, above / 2)
        return found

    def unevenness(self) -> float:
        """The noise seen in f(h) - 2 f(0) + f(-h) at the two finest rungs; the rest of it falls as h^2 where f is
        smooth.
        """
        if self.side:
            return 0.0
        fine, coarse = self.rungs[:2]
        return abs(self._bend(fine) - self._bend(coarse) / float(RATIO) ** (2 * (coarse - fine))) / sqrt(6)

    def sides(self) -> tuple[float, float, bool]:
        """The one-sided derivatives and whether f jumps; (nan, nan, False) where f is smooth at 0.

        D+ - D- = h f'' for a smooth f: it falls with h. At a kink it stays, at a jump it grows as
        1/h, and so does the two-sided difference where f jumps between -h and h. `_AGREEING_RUNGS` must agree.
        """
        if self.side or len(self.rungs) < _AGREEING_RUNGS:
            return nan, nan, False
        finest = self.rungs[:_AGREEING_RUNGS]
        h, (below, above) = self.step(finest[1]), self.values[finest[1]]
        right, left = (above - self.f0) / h, (self.f0 - below) / h
        bars = [_KINK_BARS / SIGMAS * self.bar((rung,)) for rung in finest]
        gaps = [self.asymmetry(rung) for rung in finest]
        for values in (gaps, [self.slope((rung,)) for rung in finest]):
            if _seen(values, bars) and all(
                abs(fine - coarse * RATIO ** (above - below)) < 0.125 * abs(fine)
                for (fine, coarse), (below, above) in zip(pairwise(values), pairwise(finest), strict=True)
            ):
                return left, right, True
        matters = abs(gaps[0]) > _KINK * max(abs(left), abs(right))
        if (
            matters
            and _seen(gaps, bars)
            and all(abs(fine - coarse) < 0.4 * abs(coarse) for fine, coarse in pairwise(gaps))
        ):
            return left, right, False
        return nan, nan, False

    def third(self) -> float:
        """The least bound on |f'''/6| that two neighbouring rungs give."""
        pairs = () if self.side else pairwise(self.rungs)
        bounds = [
            (abs(self.slope((coarse,)) - self.slope((fine,))) + self.bar((fine,)))
            / (self.step(coarse) * self.step(coarse) - self.step(fine) * self.step(fine))
            for fine, coarse in pairs
        ]
        return min(bounds, default=nan)

    def unsettled(self) -> tuple[float, float]:
        """How the one-sided slopes move below the finest rungs: (ratio, gap), the ratio of the last change to the one
        before it, a rung wider, and the last change; (0, 0) where changes are within the noise.

        For a smooth f and for a kink the ratio is 1/4. For |x|^p it is 4^(1 - p): from 1 on, at a root or a logarithm,
        there is no slope.
        """
        finest = self.rungs[:_RUNGS_OF_CHANGE]
        if len(finest) < _RUNGS_OF_CHANGE or finest[-1] - finest[0] >= _RUNGS_OF_CHANGE:
            return 0.0, 0.0
        worst = (0.0, 0.0)
        bars = [2 * self.bar((rung,)) for rung in finest[:-1]]
        for side in (0, 1) if not self.side else (0,):
            slopes = [(self.values[rung][side] - self.f0) / self.points(rung)[side] for rung in finest]
            gaps = [fine - coarse for fine, coarse in pairwise(slopes)]
            if _seen(gaps, bars):
                ratios = [fine / coarse for fine, coarse in pairwise(gaps)]
                if 0 < max(ratios) < _STEADY * min(ratios):
                    worst = max(worst, (min(ratios), abs(gaps[0])))
        return worst

    def _bend(self, rung: int) -> float:
        return sum(self.values[rung]) - 2 * self.f0


def _seen(values: Sequence[float], bars: Sequence[float]) -> bool:
    return all(abs(value) > bar for value, bar in zip(values, bars, strict=True))
