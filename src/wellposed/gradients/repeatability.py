"""WP504: is the loss the same at every evaluation, and the gradient at every backward pass?"""

from __future__ import annotations

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.prober import Prober
from wellposed.rules.gradients import RANDOM


def random_loss(problem: Problem, prober: Prober) -> Finding:
    """The loss has two values at one point although every generator within reach was held fixed."""
    again = problem.value(prober.theta)
    held = f" ({', '.join(problem.draws)} were held)" if problem.draws else ""
    text = (
        f"The loss is random: it has two values at the same point ({prober.value:.12g} and {again:.12g}), although the "
        "generators that could "
        f"be found are held fixed{held}. Something else changes: a generator that is made anew without a seed, a counter, the "
        "time, threads."
    )
    return RANDOM.found(Verdict.SUSPECT, text, where="loss", cause="random")


def randomness_held(problem: Problem) -> list[Finding]:
    """What was random, and was held fixed."""
    if not problem.draws:
        return []
    text = f"The loss draws random numbers ({', '.join(problem.draws)}); they were the same at every evaluation, and are put back."
    return [RANDOM.holds(message=text)]


def random_backward(prober: Prober) -> Finding:
    """Two backward passes at one point gave different gradients."""
    spread = prober.backward_spread
    text = (
        f"Two backward passes at the same point give gradients {spread:.2g} apart: the backward pass is random, or adds up in "
        "an order that "
        "changes (atomic additions on a GPU)."
    )
    evidence = (Evidence("distance of two gradients at one point", spread, reference="0"),)
    return RANDOM.found(Verdict.SUSPECT, text, where="gradient", cause="random-backward", evidence=evidence)
