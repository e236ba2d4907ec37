"""Forward-mode derivatives held against the same differences."""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.numerics.arrays import Vector
from wellposed.rules.gradients import WRONG

_DIRECTIONS = 2


def check_forward(problem: Problem, *, reverse: bool = True) -> list[Finding]:
    """WP501 for `problem.pushed`; nothing where it agrees along random directions through all tensors.

    Without `reverse` no gradient is asked for. Whatever the framework raises where an operation has no forward mode
    comes through.
    """
    theta = problem.theta()
    gradient = problem.layout.pack_known(problem.gradient(theta)) if reverse else np.zeros_like(theta)
    prober = Prober(problem, theta, gradient)
    for u in [prober.directions.jointly(problem.pushable) for _ in range(_DIRECTIONS)]:
        pushed = problem.pushed(theta, u)
        probe = prober.confirmed([u])[0] if reverse else _twice(prober, u, pushed)
        if not probe.known:
            return [WRONG.undecided(f"Along a random direction {probe.slope.reason}.", where="forward mode")]
        if probe.smooth and _disagrees(probe, pushed):
            text = (
                "The forward-mode derivative does not agree with the function: along a random direction it is"
                f" {pushed:.6g}; differences say {probe.measured:.6g} ± {probe.error:.1g}."
            )
            evidence = [
                Evidence("slope by forward mode", pushed),
                Evidence("measured slope", probe.measured, error=probe.error),
            ]
            evidence += [Evidence("slope by reverse mode", probe.claimed)] if reverse else []
            return [WRONG.found(Verdict.FAILS, text, where="forward mode", evidence=tuple(evidence))]
    return []


def _twice(prober: Prober, u: Vector, pushed: float) -> Probe:
    """A disagreement must be seen again with smaller steps."""
    first = prober.probe(u)
    return prober.probes([u], second_opinion=True)[0] if first.known and _disagrees(first, pushed) else first


def _disagrees(probe: Probe, pushed: float) -> bool:
    return abs(pushed - probe.measured) > probe.allowed
