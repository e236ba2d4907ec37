"""WP504: is the loss the same at every evaluation, and the gradient at every backward pass?"""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.directions import Prober
from wellposed.rules.gradients import RANDOM


def random_loss(problem: Problem, prober: Prober) -> Finding:
    """The loss has two values at one point although every generator within reach was held fixed."""
    again = problem.value(prober.theta)
    held = f" ({', '.join(problem.draws)} were held)" if problem.draws else ""
    text = (
        f"The loss is random: it has two values at the same point ({prober.value:.12g} and {again:.12g}), although the generators that could "
        f"be found are held fixed{held}. Something else changes: a generator that is made anew without a seed, a counter, the time, threads."
    )
    return RANDOM.found(Verdict.SUSPECT, text, where="loss", cause="random")


def randomness_held(problem: Problem) -> list[Finding]:
    """What was random, and was held fixed."""
    if not problem.draws:
        return []
    text = f"The loss draws random numbers ({', '.join(problem.draws)}); they were the same at every evaluation, and are put back."
    return [RANDOM.holds(message=text)]


def backward_spread(prober: Prober, name: str) -> float:
    """How far two backward passes at one point lie apart in this tensor, as a bound on a slope along a unit direction."""
    place = prober.problem.layout.slices[name]
    again = prober.problem.layout.pack_known(prober.problem.gradient(prober.theta))
    return float(np.linalg.norm((again - prober.gradient)[place]))


def nondeterministic_backward(name: str, spread: float) -> Finding:
    text = (
        f"Two backward passes at the same point give gradients of `{name}` that differ by {spread:.2g}: the backward pass is random, or adds "
        "up in an order that changes (atomic additions on a GPU)."
    )
    evidence = (Evidence("difference of two gradients at one point", spread, name, reference="0"),)
    return RANDOM.found(Verdict.SUSPECT, text, where=name, cause="random-backward", evidence=evidence)
