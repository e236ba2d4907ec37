"""Forward-mode derivatives held against the same differences."""

from __future__ import annotations

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.prober import Prober
from wellposed.rules.gradients import WRONG

_DIRECTIONS = 2


def check_forward(problem: Problem) -> list[Finding]:
    """WP501 for `problem.pushed`; nothing where it agrees along random directions through all tensors.

    Whatever the framework raises where an operation has no forward mode comes through.
    """
    theta = problem.theta()
    prober = Prober(problem, theta, problem.layout.pack_known(problem.gradient(theta)))
    directions = [prober.directions.jointly(problem.pushable) for _ in range(_DIRECTIONS)]
    for u, probe in zip(directions, prober.confirmed(directions), strict=True):
        pushed = problem.pushed(theta, u)
        if probe.smooth and abs(pushed - probe.measured) > probe.allowed:
            text = (
                f"The forward-mode derivative does not agree with the function: along a random direction it is {pushed:.6g}; "
                "differences say "
                f"{probe.measured:.6g} ± {probe.error:.1g}."
            )
            evidence = (
                Evidence("slope by forward mode", pushed),
                Evidence("measured slope", probe.measured, error=probe.error),
                Evidence("slope by reverse mode", probe.claimed),
            )
            return [WRONG.found(Verdict.FAILS, text, where="forward mode", evidence=evidence)]
    return []
