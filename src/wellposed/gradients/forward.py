"""Forward-mode derivatives held against the same differences."""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.wrong import WRONG
from wellposed.numerics.arrays import Vector

_DIRECTIONS = 2


def check_forward(problem: Problem, *, reverse: bool = True) -> list[Finding]:
    """WP501 for `problem.jvp`; nothing where it agrees along random directions through all tensors.

    Without `reverse` no gradient is asked for. Whatever the framework raises where an operation has no forward mode
    comes through.
    """
    theta = problem.theta()
    gradient = problem.layout.pack_known(problem.gradient(theta)) if reverse else np.zeros_like(theta)
    prober = Prober(problem, theta, gradient)
    for u in [prober.directions.jointly(problem.differentiation.jvp_names) for _ in range(_DIRECTIONS)]:
        tangent_slope = problem.differentiation.jvp(theta, u)
        probe = prober.confirmed([u])[0] if reverse else _twice(prober, u, tangent_slope)
        if not probe.known:
            return [WRONG.undecided(f"Along a random direction {probe.slope.reason}.", where="forward mode")]
        if probe.smooth and _disagrees(probe, tangent_slope):
            text = (
                "The forward-mode derivative does not agree with the function: along a random direction it is"
                f" {tangent_slope:.6g}; differences say {probe.measured:.6g} ± {probe.error:.1g}."
            )
            evidence = [
                Evidence(
                    "measured slope", probe.measured, "", "", f"{tangent_slope:.6g}, by forward mode", probe.error
                ),
            ]
            evidence += [Evidence("slope by reverse mode", probe.claimed)] if reverse else []
            return [WRONG.found(Verdict.FAILS, text, where="forward mode", evidence=tuple(evidence))]
    return []


def _twice(prober: Prober, u: Vector, tangent_slope: float) -> Probe:
    """A disagreement must be seen again with smaller steps."""
    first = prober.probe(u)
    return prober.probes([u], second_opinion=True)[0] if first.known and _disagrees(first, tangent_slope) else first


def _disagrees(probe: Probe, tangent_slope: float) -> bool:
    return abs(tangent_slope - probe.measured) > probe.allowed
