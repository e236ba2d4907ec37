"""The runs of a candidate, of its reference and of what is exact; each is made when it is asked for, and once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from wellposed.backends.ways import Passed, Twist, Way, Ways
from wellposed.gradients.paths.apart import POINTS, Apart, measure
from wellposed.numerics.arrays import Array

Kind = Literal["outputs", "gradients"]


class Held:
    """The candidate against the reference."""

    def __init__(self, ways: Ways) -> None:
        self.ways = ways

    @cached_property
    def exact(self) -> list[Passed] | None:
        """None where the reference does not run in float64."""
        found = self._runs("exact")
        if found is None and self.ways.come_nearer():  # a table has an end, a root no negative numbers
            found = self._runs("exact")
        return found

    @cached_property
    def reference(self) -> list[Passed] | None:
        """At the first two points; None where it does not run in the candidate's format."""
        return self._runs("reference", points=range(2))

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
        def of(passes: Sequence[Passed]) -> list[Array]:
            return [getattr(one, kind)[name] for one in passes]

        reference = None if self.reference is None else of(self.reference)
        return measure(name, of(self.exact or ()), of(runs), reference, self.ways.unit, self.ways.least)

    def right_with(self, twist: Twist, name: str, kind: Kind) -> bool:
        """Whether a tensor that is wrong is right with a twist."""
        if twist == "float64":
            return self._right_in_float64(name, kind)
        runs = self._runs("candidate", twist)
        return runs is not None and not self._tensor(name, runs, kind).wrong

    def _right_in_float64(self, name: str, kind: Kind) -> bool:
        """Of both in float64, at points between the numbers of the coarse format, so that nothing is tied."""
        points = range(1, POINTS + 1)
        exact, candidate = (self._runs(way, "float64", points) for way in _BOTH)
        if exact is None or candidate is None:
            return False
        there, here = ([getattr(one, kind)[name] for one in runs] for runs in (exact, candidate))
        return not measure(name, there, here, None, self.ways.unit, self.ways.least).wrong


_BOTH: tuple[Way, Way] = ("exact", "candidate")
