"""The runs of a candidate, of its reference and of what is exact; each is made when it is asked for, and once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from wellposed.backends.ways import Passed, Twist, Way, Ways
from wellposed.gradients.paths.apart import FINE, POINTS, Apart, measure
from wellposed.numerics.arrays import Array

Kind = Literal["outputs", "gradients"]
KINDS: tuple[Kind, ...] = ("outputs", "gradients")
FEW = 2  # points at which the reference is run first


class Held:
    """The candidate against the reference."""

    def __init__(self, ways: Ways, elsewhere: Held | None = None) -> None:
        """`elsewhere`: the same on the inputs that were given, whose size counts where little is left of a tensor."""
        self.ways, self._elsewhere = ways, elsewhere
        self._of_reference = FEW
        self._others: list[list[Passed] | None] = []

    @cached_property
    def exact(self) -> list[Passed] | None:
        """None where the reference does not run in float64."""
        found = self._runs("exact")
        if found is None and self.ways.come_nearer():  # a table has an end, a root no negative numbers
            found = self._runs("exact")
        return found

    @cached_property
    def reference(self) -> list[Passed] | None:
        """At the first points; None where it does not run in the candidate's format."""
        return self._runs("reference", points=range(self._of_reference))

    def look_closer(self) -> None:
        """The reference at every point: what flips at one of them in the coarse format flips there in both."""
        known, self._of_reference = self.reference, POINTS
        if known is not None and len(known) < POINTS:
            rest = self._runs("reference", points=range(len(known), POINTS))
            self.reference = None if rest is None else [*known, *rest]
            self.__dict__.pop("_infinite", None)

    @cached_property
    def candidate(self) -> list[Passed]:
        return self._runs("candidate") or []

    @cached_property
    def again(self) -> Passed | None:
        """The candidate at the first point, once more."""
        return self.ways.passed("candidate", 0, "again")

    def _runs(self, way: Way, twist: Twist = "", points: range = range(POINTS)) -> list[Passed] | None:
        """None where one of them cannot be made."""
        passes = [self.ways.passed(way, point, twist) for point in points]
        known = [one for one in passes if one is not None]
        return known if len(known) == len(passes) else None

    def measured(self, runs: Sequence[Passed], kind: Kind) -> list[Apart]:
        """Each output, or the gradient by each tensor. Only where there is something exact."""
        assert self.exact is not None
        return [self._tensor(name, runs, kind) for name in getattr(self.exact[0], kind)]

    def _tensor(self, name: str, runs: Sequence[Passed], kind: Kind) -> Apart:
        exact, way = (self.numbers(passes, kind, name) for passes in (self.exact or (), runs))
        reference = None if self.reference is None else self.numbers(self.reference, kind, name)
        return measure(name, exact, way, reference, self.ways.unit, max(self.ways.least, self._least(kind, name)))

    def _least(self, kind: Kind, name: str) -> float:
        """The rounding of an entry elsewhere."""
        if self._elsewhere is None or self._elsewhere.exact is None:
            return 0.0
        entries = self._elsewhere.numbers(self._elsewhere.exact[:1], kind, name)[0]
        return _UNITS * self.ways.unit * float(np.sqrt(np.mean(entries**2))) if entries.size else 0.0

    def numbers(self, runs: Sequence[Passed], kind: Kind, name: str) -> list[Array]:
        """A tensor at each point, with zeros where the reference is not finite: nothing can be held against that."""
        known = self._infinite.get((kind, name))
        found = [getattr(one, kind)[name] for one in runs]
        return found if known is None else [np.where(known, 0.0, one) for one in found]

    @cached_property
    def _infinite(self) -> dict[tuple[Kind, str], Array]:
        """Where the reference is not finite at some point, in float64 or in the candidate's format."""
        runs = [*(self.exact or ()), *(self.reference or ())]
        found: dict[tuple[Kind, str], Array] = {}
        for kind in KINDS:
            for name in getattr(runs[0], kind) if runs else ():
                finite = [np.isfinite(getattr(one, kind)[name]) for one in runs]
                if not all(map(np.all, finite)):
                    found[kind, name] = ~np.logical_and.reduce(finite)
        return found

    @property
    def infinite(self) -> int:
        """How many numbers are not compared for that."""
        return sum(int(where.sum()) for where in self._infinite.values())

    def right_with(self, twist: Twist, name: str, kind: Kind) -> bool:
        """Whether a tensor that is wrong is right with a twist."""
        if twist == "float64":
            return self._right_in_float64(name, kind)
        runs = self._runs("candidate", twist)
        return runs is not None and not self._tensor(name, runs, kind).wrong

    def as_a_right_way(self, one: Apart, kind: Kind) -> bool:
        """Whether the reference, rounded otherwise, would be told for as much: a choice that flips (an expert, a
        maximum), or a sum that rounding moves to one side.
        """
        for runs in self._rounded_otherwise():
            other = self._tensor(one.name, runs, kind)
            if (one.stale and other.stale) or (other.wrong and other.worst >= _JUMPS * one.worst):
                return True
        return False

    def _rounded_otherwise(self) -> Iterator[list[Passed]]:
        """The reference in the candidate's format, each result rounded anew; each run is made once."""
        for number in range(_RIGHT_WAYS):
            if number == len(self._others):
                self._others.append(self._runs("reference", "dithered"))
            runs = self._others[number]
            if runs is None:
                return
            yield runs

    def moved_by_chance(self, name: str, kind: Kind) -> float:
        """How far other random numbers move the candidate, at most, relative: other ones at each point."""
        runs = self._runs("candidate", "redrawn")
        if runs is None:
            return 0.0
        pairs = zip(self.numbers(runs, kind, name), self.numbers(self.candidate, kind, name), strict=True)
        return max(float(np.linalg.norm(one - other) / (np.linalg.norm(other) or 1.0)) for one, other in pairs)

    def _right_in_float64(self, name: str, kind: Kind) -> bool:
        """Of both in float64, at points between the numbers of the coarse format, so that nothing is tied."""
        points = range(1, POINTS + 1)
        exact, candidate = (self._runs(way, "float64", points) for way in _BOTH)
        if exact is None or candidate is None:
            return False
        lifted = self._typically_apart(candidate, exact, name, kind)
        own = self._typically_apart(self.candidate, self.exact or (), name, kind)
        return own > 0 and lifted <= max(FINE, _LIFTED * own)

    def _typically_apart(self, runs: Sequence[Passed], exact: Sequence[Passed], name: str, kind: Kind) -> float:
        """Relative, at the median of the points."""
        pairs = zip(self.numbers(runs, kind, name), self.numbers(exact, kind, name), strict=True)
        return float(np.median([np.linalg.norm(one - other) / (np.linalg.norm(other) or 1.0) for one, other in pairs]))

    def at_a_kink(self, name: str, kind: Kind) -> bool:
        """Whether inputs lie on kinks of the reference (a rectifier's zeros, equal numbers that a maximum is taken of),
        and the candidate goes on to another side of them: both are right.
        """
        if self.exact is None:
            return False
        if kind == "gradients" and all(self._among_equals(name, point) for point in range(POINTS)):
            return True
        return self._right_beside(name, kind)

    @cached_property
    def _off_zero(self) -> tuple[list[Passed], list[Passed]] | None:
        """Both ways, where zeros among the inputs are moved off; None where that changes nothing, or cannot be run."""
        exact = self._runs("exact", "off-zero")
        if exact is None or self.exact is None or all(map(_same, exact, self.exact)):
            return None
        candidate = self._runs("candidate", "off-zero")
        return None if candidate is None else (exact, candidate)

    def _among_equals(self, name: str, point: int) -> bool:
        """Whether only those that are equal have other gradients, and together the same."""
        values = self.ways.values(name, point)
        here, there = (self.numbers([runs[point]], "gradients", name)[0] for runs in (self.candidate, self.exact or []))
        apart = here - there
        if values is None or values.shape != apart.shape:
            return False
        groups = np.unique(values, return_inverse=True)[1].ravel()
        together, each = (np.bincount(groups, weights=numbers.ravel()) for numbers in (apart, apart**2))
        several = np.count_nonzero(each > each.mean())
        return bool(several >= _GROUPS and np.linalg.norm(together) <= _SAME * np.linalg.norm(apart))

    def _right_beside(self, name: str, kind: Kind) -> bool:
        """Where zeros among the inputs are moved off, the candidate is right, and the reference no longer what it was
        at zero: it jumps there.
        """
        if self._off_zero is None or self.exact is None:
            return False
        all_runs = (*self._off_zero, self.exact, self.candidate)
        there, here, at_zero, wrong = (self.numbers(runs, kind, name) for runs in all_runs)
        jumps, apart = (np.linalg.norm(np.subtract(runs, at_zero)) for runs in (there, wrong))
        if jumps < _JUMPS * apart or not _between(np.asarray(there), np.asarray(wrong), np.asarray(at_zero)):
            return False
        return not measure(name, there, here, None, self.ways.unit, self.ways.least).wrong


def _same(one: Passed, other: Passed) -> bool:
    return all(
        np.array_equal(value, getattr(other, kind)[name])
        for kind in KINDS
        for name, value in getattr(one, kind).items()
    )


def _between(sides: Array, wrong: Array, at_zero: Array) -> bool:
    """Whether what is wrong lies between the sides that were seen, or is shared out among equals otherwise."""
    low, high = sides.min(axis=0), sides.max(axis=0)
    slack = _SAME * np.maximum(high - low, np.abs(high))
    apart = wrong - at_zero
    outside = (wrong < low - slack) | (wrong > high + slack)
    if (apart[outside] ** 2).sum() <= _HALF * (apart**2).sum():
        return True
    total, shared = float(sides.sum()), float((wrong - sides).sum())
    return abs(shared) <= _SAME * abs(total)


_HALF = 0.5  # of a difference's square
_LIFTED = 0.1  # of a difference: what is left of one that rounding makes
_SAME = 0.2  # of what is apart
_GROUPS = 20  # of numbers that are apart: at random it does not cancel in each
_UNITS = 8.0  # of an entry's rounding: what cancels where a size is 1 is that of its terms
_JUMPS = 0.3  # the same
_RIGHT_WAYS = 4  # runs at all points
_BOTH: tuple[Way, Way] = ("exact", "candidate")
