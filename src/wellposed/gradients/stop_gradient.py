"""What a gradient leaves out on purpose: values that pass a detach, a stop_gradient or a Python number, and are
constants to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wellposed.backends.measured import Cut
from wellposed.backends.protocol import Held, Problem
from wellposed.findings import Finding, Verdict
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.wrong import WRONG
from wellposed.numerics.arrays import Vector

_CUTS_NAMED = 3  # cuts in a sentence
_LOOKED_AT = 4  # Python numbers looked at one by one
_UNCHANGED = 64.0  # units in the last place of a gradient: by as much it may differ and be the same
_ARRAYS = ("numpy()", "tolist()", "np.asarray()")


def tell_of_cuts(
    problem: Problem, held: Held, gradient: Vector, directions: Sequence[Vector], found: list[Finding]
) -> list[Finding]:
    """The findings of the held problem, with one line on the cuts in the place of what holds.

    Where cuts count that line fails. A number that is a term of the loss fails too, as it is there to be trained and is
    not; so does a way through NumPy within a module. What a distribution draws, without a gradient where one could
    pass, is suspect.
    """
    cuts = list(held.cuts)
    if problem.differentiation.cuts_count:
        words = f"The gradient leaves out what passes the {_listed(cuts)}; the rest agrees."
        failing = WRONG.found(Verdict.FAILS, words, where=problem.layout.names[0], cause="detached")
        return sorted(
            [failing if f.rule == WRONG.id and f.verdict is Verdict.HOLDS else f for f in found], key=lambda f: f.rule
        )
    numbers = [cut for cut in cuts if cut.number and not cut.sampled][:_LOOKED_AT]
    for cut in numbers:
        if any(finding.rule == WRONG.id and finding.verdict is Verdict.FAILS for finding in found):
            break
        words = _never_meant(problem, held, cut, gradient, directions)
        if words:
            failing = WRONG.found(Verdict.FAILS, words, where="loss", cause="detached")
            return sorted([f for f in found if f.rule != WRONG.id] + [failing], key=lambda f: f.rule)
    scored = {cut.where for cut in cuts if cut.scored}  # an action goes back into its log-probability, and on besides
    drawn = next((cut for cut in cuts if cut.sampled and not cut.number and cut.where not in scored), None)
    if drawn is not None and _matters(held.freed(drawn), gradient, directions):
        by, of, instead = "sample()", "distribution's parameters", "rsample()"
        if drawn.what == "normal()":
            by, of, instead = "torch.normal()", "mean and the deviation", "mean + std * torch.randn_like(mean)"
        text = (
            f"What {by} at {drawn.where} draws passes no gradient to the {of}: they learn from the other terms of the"
            f" loss alone. {instead} lets it pass."
        )
        found = [f for f in found if f.rule != RANDOM.id] + [
            RANDOM.found(Verdict.SUSPECT, text, where="loss", cause="sampled")
        ]
    line = f"The gradient leaves out what passes the {_listed(cuts)}; the rest agrees with the loss."
    found = [
        replace(f, message=line, cause="detached") if f.rule == WRONG.id and f.verdict is Verdict.HOLDS else f
        for f in found
    ]
    return sorted(found, key=lambda f: f.rule)


def _listed(cuts: Sequence[Cut]) -> str:
    more = len(cuts) - _CUTS_NAMED
    return ", ".join(str(cut) for cut in cuts[:_CUTS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _matters(freed: Problem, gradient: Vector, directions: Sequence[Vector]) -> bool:
    """Whether the loss changes along these directions otherwise than the gradient says, once a cut's value may
    follow.
    """
    prober = Prober(freed, freed.theta(), gradient)
    return any(probe.known and not probe.agrees for probe in prober.probes(directions))


def _never_meant(problem: Problem, held: Held, cut: Cut, gradient: Vector, directions: Sequence[Vector]) -> str:
    """In words, why a Python number cannot be meant; "" where it may be, as an advantage is that only weighs a term, or
    does not matter.
    """
    if not _matters(held.freed(cut), gradient, directions):
        return ""
    other = held.nudged(cut)
    nudged = problem.layout.pack_known(other.gradient(other.theta()))
    change, size = float(np.linalg.norm(nudged - gradient)), float(np.linalg.norm(gradient))
    if change <= _UNCHANGED * np.finfo(np.float64 if problem.dtype == "float64" else np.float32).eps * size:
        return (
            f"A term of the loss is a number without a gradient: {cut} makes it one. It is added, and nothing is"
            " trained by it; the rest of the gradient agrees with the loss."
        )
    if cut.within and cut.what in _ARRAYS:
        return (
            f"Within `{cut.within}` values go through NumPy ({cut}) and come back without a gradient: what is before it"
            " is trained by what goes another way alone."
        )
    return ""
