"""Choosing the step: halfway between the noise of f (small steps) and its curvature (large ones).

A ladder of steps, each a quarter of the one above, starts where noise and curvature balance for a
function that changes over the given scale. It grows downwards while truncation rules the error of the best formula,
and upwards while noise rules it and the curvature that would limit a larger step has not been seen.

The algorithm does not call f but asks for values (see asking.py), so that many derivatives can share one call of f.
"""

from __future__ import annotations

from math import inf, isfinite, nan

from wellposed.derivatives.coroutines import Asking
from wellposed.derivatives.estimate import Slope
from wellposed.derivatives.formulas import Formula, best
from wellposed.derivatives.ladder import RATIO, SIGMAS, Ladder
from wellposed.derivatives.noise import ORDER, UNEVEN, Noise, noise_level

CONSTANT = "the function does not change, to the last digit, within reach of the point"
NOT_FINITE_HERE = "the function is not finite at the point"
NOT_FINITE_NEAR = "the function is not finite near the point"
NO_SLOPE = "the slope goes on changing as the step shrinks, as at a root or a logarithm of 0"
ONE_SIDE = "the function is not finite on one side of the point (bounds= keeps the steps within its domain)"

_START = (0, -1, -2)
_STEEPEST = 64.0  # where f changes by its own size within less than this part of the scale, the guess goes no further
_SAFETY = 1.5  # bars are wider by this than what was found, which is itself uncertain
_RUNGS_CLOSER = 3
_OUTLIER = 8.0
_CURVED = 1.5
_SMOOTH, _SETTLING, _JUMPING = (
    0.4,
    0.8,
    3.2,
)  # ratios of one-sided slopes' changes from rung to rung: smooth, settling, no slope, a jump


def slope(
    *,
    scale: float = 1.0,
    eps: float = 2.0**-52,
    f0: float | None = None,
    near: Noise | None = None,
    room: tuple[float, float] = (inf, inf),
    reach: float = 2.0**12,
    enough: float = 0.0,
    most: int = 14,
) -> Asking[Slope]:
    """f'(0) with an error bar; a kink or jump at 0 is recognised.

    `scale` is a length over which f is expected to change (a guess within a few powers of ten does), `eps` the
    precision of f's values, `near` its noise where that is known (it is measured otherwise), `room` how far t may go to
    the left and to the right, `reach` how far beyond the scale steps may grow, `enough` the error bar that needs no
    improvement, `most` the number of steps tried, of two evaluations each.
    """
    used = 0
    if f0 is None:
        ((_, f0),) = yield [0.0]
        used += 1
    if not isfinite(f0):
        return Slope(nan, inf, nan, used, NOT_FINITE_HERE)
    scale = min(scale, max(room))
    if near is None:
        near = yield from noise_level(scale, eps, f0, room)
        used += near.evaluations
    if not isfinite(near.level):
        return Slope(nan, inf, nan, used, NOT_FINITE_NEAR)
    climb = _Climb(f0, scale, eps, near, room, reach, enough, most)
    while rungs := climb.wanted():
        points = [t for rung in rungs for t in climb.ladder.points(rung)]
        used += len(points)
        found = yield points
        for index, rung in enumerate(rungs):
            climb.ladder.add(rung, found[2 * index : 2 * index + 2])
    return climb.judged(used)


def first_step(length: float, relative: float) -> float:
    """The step at which noise and curvature balance for a function that changes over that length, with noise of that
    part of its size.
    """
    return float(UNEVEN * length * relative**ORDER)


class _Climb:
    """Which rungs to ask for next, and the verdict when there are enough."""

    def __init__(
        self,
        f0: float,
        scale: float,
        eps: float,
        near: Noise,
        room: tuple[float, float],
        reach: float,
        enough: float,
        most: int,
    ) -> None:
        self.near, self._enough, self._most = near, enough / _SAFETY, most
        noise = max(near.level, eps * abs(f0) / 2)
        change = scale * (abs(near.slope) + near.doubt)
        size = min(abs(f0), change) if change > 0 else abs(f0)
        relative = min(max(noise / size if size else eps, eps), 0.1)
        start = first_step(_length(scale, f0, near), relative)
        # At the edge of the domain: look to the side where there is room.
        side = 0 if min(room) >= start else 1 if room[1] >= room[0] else -1
        room_there = max(room) / 2 if side else min(room)
        while start > room_there:
            start /= 2
        self.ladder = Ladder(f0, eps, near.level, start, side)
        # Noise beyond the rounding of f comes from within, and need not be the same further out.
        self.limit = min(room_there, (min(reach, 1.0) if near.level > 4 * eps * abs(f0) else reach) * scale)
        self.resolution = 8 * eps * scale
        self.ends: tuple[bool, ...] = (False, False)  # whether f was not finite on the left, on the right
        self._ends_at: set[int] = set()  # the rungs where it was not

    def wanted(self) -> list[int]:
        """The rungs to ask for next; none when the ladder is long enough."""
        ladder = self.ladder
        if not ladder.rungs and not self._ends_at:  # nothing was asked for yet
            return list(_START)
        if ladder.rungs == sorted(_START) and all(map(ladder.finite, ladder.rungs)):
            seen = ladder.unevenness()
            if ladder.noise < seen < _OUTLIER * ladder.noise:  # beyond that it is no noise but a kink or an oscillation
                ladder.louder(seen)
        for rung in [rung for rung in ladder.rungs if not ladder.finite(rung)]:  # so far out f has an end
            self.ends = tuple(
                end or not isfinite(value) for end, value in zip(self.ends, ladder.values[rung], strict=True)
            )
            self.limit = min(self.limit, ladder.step(rung) / RATIO)
            ladder.drop(rung)
            self._ends_at.add(rung)
        missing = len(_START) - len(ladder.rungs)
        if missing > 0:
            below = min([*ladder.rungs, *(rung - _RUNGS_CLOSER + 1 for rung in self._ends_at if not ladder.rungs)]) - 1
            rungs = [below - k for k in range(missing)]
            if not self._ends_at.isdisjoint(rungs):
                return []
            return rungs if ladder.step(rungs[-1]) > self.resolution else []
        if len(ladder.rungs) >= self._most:
            return []
        possible = (rung for rung in self._next() if rung not in self._ends_at)
        return [rung for rung in possible if self.resolution < ladder.step(rung) <= self.limit]

    def _next(self) -> list[int]:
        ladder = self.ladder
        lowest, highest = ladder.rungs[0], ladder.rungs[-1]
        if ladder.constant:
            return [highest + 3]
        left, right, jump = ladder.sides()
        if (
            left == left
        ):  # a kink or a jump: at the point, or a little beside it? Look closer, as long as it would be seen there.
            blurred = 8 * RATIO**_RUNGS_CLOSER * ladder.bar((lowest,))
            return [lowest - _RUNGS_CLOSER] if jump or abs(right - left) > blurred else []
        formula = best(ladder)
        doubt = max(formula.error, self._contradiction(formula))
        if doubt <= self._enough:
            return []
        if formula.truncation > formula.noise or doubt > formula.error:
            return [lowest - 1] if ladder.bar((lowest,)) < doubt else []
        coarsest = formula.window[-1]
        if coarsest < highest:
            return [] if coarsest + 1 in ladder.values else [coarsest + 1]
        return [] if self._curved(formula) else [highest + 1]

    def _contradiction(self, formula: Formula) -> float:
        """How far the slope on the fine grid is from the formula's, where that is more than both may be off.

        Steps of one period of f agree with each other, but not with it.
        """
        apart = abs(formula.value - self.near.slope)
        return apart if apart > formula.error + self.near.doubt + abs(self.near.slope) / 4 else 0.0

    def _curved(self, formula: Formula) -> bool:
        """Whether the curvature is seen, and limits any two-sided difference to no less than the error reached.

        The least error of a two-sided difference is 1.5 (sigma^2 |f'''/6|)^(1/3).
        """
        fine, coarse = self.ladder.rungs[-2:]
        gap = abs(self.ladder.slope((coarse,)) - self.ladder.slope((fine,)))
        if gap <= self.ladder.bar((fine,)):
            return False
        third = gap / self.ladder.step(coarse) / self.ladder.step(coarse)
        optimum: float = 1.5 * self.ladder.noise ** (2 / 3) * third ** (1 / 3)
        return formula.noise / SIGMAS <= _CURVED * optimum

    def judged(self, used: int) -> Slope:
        ladder = self.ladder
        if len(ladder.rungs) < len(_START):
            return Slope(nan, inf, nan, used, ONE_SIDE if sum(self.ends) == 1 and not ladder.side else NOT_FINITE_NEAR)
        left, right, jump = ladder.sides()
        formula = best(ladder)
        ratio, gap = ladder.unsettled()
        if formula.error < gap:  # coarser steps do better: what the finest show is noise
            ratio = 0.0
        if left != left and _SETTLING <= ratio < _JUMPING:
            return Slope(nan, inf, nan, used, NO_SLOPE)
        louder = max(1.0, ladder.unevenness() / ladder.noise) if ladder.noise and left != left else 1.0
        error = max(_SAFETY * (formula.truncation + louder * formula.noise), self._contradiction(formula))
        error = (
            max(error, gap * ratio / (1 - ratio) if _SMOOTH < ratio < _SETTLING else 0.0)
            + abs(formula.value) * 2.0**-52
        )
        if ladder.flat_near():  # flat over small steps, climbing over larger ones: a stair, or a threshold
            error = max(error, *(abs(ladder.slope((rung,))) for rung in ladder.rungs))
        h = ladder.step(formula.window[-1])
        if ladder.constant and self.near.level == 0.0:
            return Slope(0.0, error, h, used, CONSTANT)
        return Slope(formula.value, error, h, used, "", left, right, jump, ladder.third())


def _length(scale: float, f0: float, near: Noise) -> float:
    """The length over which f changes by its own size where the fine grid shows it to be shorter than the scale."""
    change = scale * abs(near.slope)
    if change <= SIGMAS * scale * near.doubt or change <= abs(f0):
        return scale
    return scale * max(abs(f0) / change, 1 / _STEEPEST)
