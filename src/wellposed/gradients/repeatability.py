"""WP504: is the loss the same at every evaluation, and the gradient at every backward pass?"""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.wrong import WRONG
from wellposed.numerics.arrays import Vector

_REPEATED_ULPS = 64.0  # units in the last place
_GRADIENT_REPEATED = 1e-6


def random_loss(problem: Problem, prober: Prober) -> Finding:
    """The loss has two values at one point although every generator within reach was held fixed."""
    again = problem.value(prober.theta)
    held = f" ({', '.join(problem.variants.draws)} were held)" if problem.variants.draws else ""
    text = (
        f"The loss is random: it has two values at the same point ({prober.value:.12g} and {again:.12g}), although the"
        f" generators that could be found are held fixed{held}. Something else changes: a generator that is made anew"
        " without a seed, a counter, the time, threads."
    )
    return RANDOM.found(Verdict.SUSPECT, text, where="loss", cause="random")


def randomness_held(problem: Problem) -> list[Finding]:
    """What was random, and was held fixed."""
    if not problem.variants.draws:
        return []
    text = (
        f"The loss draws random numbers ({', '.join(problem.variants.draws)}); they were the same at every evaluation,"
        " and are"
        " put back."
    )
    return [RANDOM.holds(message=text)]


def changing_gradient(problem: Problem, prober: Prober) -> Finding | None:
    """WP501 where a second gradient at the same point is another one, and that tells why: each call adds to the last,
    or comes a call late.

    None where the two agree to their rounding, or differ in some other way.
    """
    first = prober.gradient
    again = _again(problem, prober)
    if again is first:
        return None
    change, size = again - first, float(np.linalg.norm(first))
    if not np.isfinite(change).all() or float(np.linalg.norm(change)) <= _REPEATED_ULPS * prober.claim_eps * size:
        return None
    part = float(change @ first) / size**2 if size else 0.0
    if (
        part > 0
        and float(np.linalg.norm(change - part * first)) <= _GRADIENT_REPEATED * size
        and _agrees(problem, prober, change)
    ):
        text = (
            "A second gradient at the same point is larger by the right one: every call adds to what the calls before"
            " it left."
        )
        return WRONG.found(
            Verdict.FAILS,
            text,
            where="gradient",
            cause="doubled",
            evidence=(Evidence("added by each call", part, reference="0"),),
        )
    if not _agrees(problem, prober, first) and _agrees(problem, prober, again):
        text = (
            "The first gradient at this point is wrong and a second one is right: what the first returns belongs to the"
            " call before it."
        )
        return WRONG.found(Verdict.FAILS, text, where="gradient", cause="stale")
    return None


def _again(problem: Problem, prober: Prober) -> Vector:
    """A second gradient at the point; the first itself, without memory for another, where they agree in every tensor to
    their rounding.
    """
    found, first = prober.gradient, problem.layout.unpack(prober.gradient)
    for name, part in problem.differentiation.gradient_in_parts(prober.theta):
        there = np.zeros_like(first[name]) if part is None else part
        if not np.linalg.norm(there - first[name]) <= _REPEATED_ULPS * prober.claim_eps * np.linalg.norm(first[name]):
            found = found.copy() if found is prober.gradient else found
            found[problem.layout.slices[name]] = there.ravel()
    return found


def _agrees(problem: Problem, prober: Prober, gradient: Vector) -> bool:
    """Whether this gradient agrees with the loss along one random direction."""
    other = Prober(problem, prober.theta, gradient, prober.value)
    probe = other.probe(other.directions.jointly(problem.layout.names))
    return probe.known and probe.agrees


def random_backward(prober: Prober) -> Finding:
    """Two backward passes at one point gave different gradients."""
    spread = prober.backward_spread
    text = (
        f"Two backward passes at the same point give gradients {spread:.2g} apart: the backward pass is random, or adds"
        " up in an order that changes (atomic additions on a GPU)."
    )
    evidence = (Evidence("distance of two gradients at one point", spread, reference="0"),)
    return RANDOM.found(Verdict.SUSPECT, text, where="gradient", cause="random-backward", evidence=evidence)
