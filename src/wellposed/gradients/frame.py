"""What a tensor is looked at in: the problem itself or, where that is given in a few coordinates, the problem of that
tensor alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from wellposed.backends.protocol import Problem
from wellposed.gradients.prober import Prober
from wellposed.numerics.theta import Gradient


@dataclass(frozen=True)
class Frame:
    """`gradient` is the claim at the prober's point, `nearby` gives a point beside it."""

    problem: Problem
    prober: Prober
    gradient: Gradient
    nearby: Callable[[], Prober]


class Frames:
    """Those of the tensors that were asked for; `uncut` measures along those without a gradient, which are `silent`."""

    def __init__(self, prober: Prober, uncut: Prober, gradient: Gradient, silent: list[str]) -> None:
        self._prober, self._uncut, self._gradient, self._silent = prober, uncut, gradient, silent
        self._known: dict[str, Frame] = {}
        self._nearby = cache(prober.nearby)

    def of(self, problem: Problem, name: str) -> Frame:
        """In `problem`, or apart from it; once."""
        if name not in self._known:
            prober = self._uncut if name in self._silent else self._prober
            if problem.differentiation.by_entry:
                self._known[name] = Frame(problem, prober, self._gradient, self._nearby)
            else:
                self._known[name] = frame_of(prober.problem, prober, self._gradient, name)
        return self._known[name]

    @property
    def evaluations(self) -> int:
        """Of problems of single tensors."""
        apart = {frame.problem for frame in self._known.values() if frame.problem.differentiation.by_entry}
        shared = {self._prober.problem, self._uncut.problem}
        return sum(problem.evaluations for problem in apart - shared)


def frame_of(problem: Problem, prober: Prober, gradient: Gradient, name: str) -> Frame:
    """The problem of one tensor where `problem` does not show it entry by entry, and offers that."""
    alone = None if problem.differentiation.by_entry else problem.variants.within(name, prober.theta)
    if alone is None:
        return Frame(problem, prober, gradient, cache(prober.nearby))
    theta = alone.theta()
    there = alone.gradient(theta)
    inside = Prober(alone, theta, alone.layout.pack_known(there), held=prober.held, budget=prober.budget)
    inside.near = prober.near  # the same loss at the same point
    return Frame(alone, inside, there, cache(inside.nearby))
