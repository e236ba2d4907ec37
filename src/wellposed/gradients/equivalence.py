"""WP506 and WP507: is a gradient accumulated over micro-batches, or over ranks, that of the whole batch?

Differences of the micro-batches' losses cannot tell, for the forward pass has the same error. Both gradients are
written as sums of the micro-batches' own: full = sum w_k g_k, accumulated = sum a_k g_k. The weights say what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wellposed.backends.structure.shown import AcrossRanks
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.gradients.rules.accumulated import ACCUMULATED
from wellposed.gradients.rules.ranks import RANKS
from wellposed.numerics.arrays import Vector

_SPANNED = 1e-3  # of a gradient's norm: what may be left when it is written as such a sum
_GRADIENTS_EQUAL = 1e-3
_SLOPES_EQUAL = 0.05
"""Relative: a gradient that is reduced in bfloat16, and a loss that is curved along it, stay well below it."""


def compare(full: Vector, parts: Sequence[Vector], accumulated: Vector, rounding: float) -> Finding:
    """WP506 for gradients of shape [P]; `rounding` is what may separate equal ones, relative to the full gradient's
    norm.
    """
    size, count = float(np.linalg.norm(full)), len(parts)
    if not size:
        return ACCUMULATED.undecided("The full batch's gradient is zero: there is nothing to compare.")
    if not np.isfinite(accumulated).all():
        text = (
            "The accumulated gradient contains NaN or infinity, and the full batch's does not: a micro-batch without"
            " any target does that."
        )
        return ACCUMULATED.found(Verdict.FAILS, text, where="accumulation", cause="unequal-counts")
    parts = [part for part in parts if np.isfinite(part).all() and part.any()]  # of an empty one nothing is lost
    apart = float(np.linalg.norm(accumulated - full)) / size
    evidence = [Evidence("distance of the two gradients, relative", apart, reference=f"below {rounding:.1g}")]
    if apart <= rounding:
        return ACCUMULATED.holds(tuple(evidence))
    weights, of_accumulated = (_weights(gradient, parts) for gradient in (full, accumulated))
    if of_accumulated is not None:
        evidence += [
            Evidence(f"weight of micro-batch {k}, accumulated", float(a)) for k, a in enumerate(of_accumulated)
        ]
    if weights is not None:
        evidence += [Evidence(f"weight of micro-batch {k}, full batch", float(w)) for k, w in enumerate(weights)]
    cause, text = _told(weights, of_accumulated, count)
    text = (
        f"The gradient accumulated over {count} micro-batches is not the full batch's: they are {apart:.2g} apart,"
        f" relative. {text}"
    )
    verdict = Verdict.SUSPECT if cause == "batch-statistics" else Verdict.FAILS
    return ACCUMULATED.found(verdict, text.strip(), where="accumulation", cause=cause, evidence=tuple(evidence))


def _weights(gradient: Vector, parts: Sequence[Vector]) -> Vector | None:
    """Least squares; None where the gradient is no such sum."""
    columns = np.stack(parts, axis=1)
    found = np.asarray(np.linalg.lstsq(columns, gradient, rcond=None)[0], dtype=np.float64)
    left = float(np.linalg.norm(columns @ found - gradient))
    return found if left <= _SPANNED * float(np.linalg.norm(gradient)) else None


def _told(weights: Vector | None, accumulated: Vector | None, count: int) -> tuple[str, str]:
    if weights is None:
        text = (
            "The full batch's gradient is no sum of the micro-batches' own: examples of a batch act on each other"
            " (batch normalisation does that)."
        )
        return "batch-statistics", text
    if accumulated is None:
        return "", "It is no sum of the micro-batches' gradients: something else was added, or left over from before."
    lost = [k for k in range(len(accumulated)) if abs(accumulated[k]) < _GRADIENTS_EQUAL * np.abs(accumulated).max()]
    if lost:
        names = ", ".join(map(str, lost))
        return "lost", f"Of micro-batch {names} nothing is in it: it was zeroed or overwritten in between."
    ratios = accumulated / weights
    if np.ptp(ratios) <= _GRADIENTS_EQUAL * np.abs(ratios).max():
        factor = float(np.mean(ratios))
        if abs(factor - count) < _GRADIENTS_EQUAL * count:
            return (
                "not-divided",
                f"It is {count} times too large, the number of micro-batches: each loss must be divided by it.",
            )
        if abs(factor * count - 1) < _GRADIENTS_EQUAL:
            return (
                "divided-twice",
                f"It is 1/{count} of what it should be: the loss is divided by the number of micro-batches twice.",
            )
        return "scale", f"It is {factor:.4g} times what it should be."
    if np.ptp(accumulated) <= _GRADIENTS_EQUAL * np.abs(accumulated).max():
        shares = ", ".join(f"{w:.3g}" for w in weights)
        text = (
            f"It weighs all micro-batches alike ({float(np.mean(accumulated)):.3g}), the full batch weighs them"
            f" {shares}: they hold different numbers of targets, and each loss is a mean over its own."
        )
        return "unequal-counts", text
    return "", "It weighs the micro-batches otherwise than the full batch does."


def over_ranks(
    world: int, values_apart: Sequence[str], gradients_apart: Sequence[str], judge: Callable[[], list[Finding]]
) -> list[Finding]:
    """WP507 for `world` ranks: the tensors that differ between ranks, else what the check of the joint loss finds.

    `judge` gives the findings of the numerical check.
    """
    if values_apart or gradients_apart:
        return [_not_synchronised(values_apart, gradients_apart)]
    found = judge()
    failing = [finding for finding in found if finding.verdict is Verdict.FAILS]
    if not failing:
        return [RANKS.holds(), *found]
    factors = [e.value for finding in failing for e in finding.evidence if e.quantity == "factor"]
    factor = factors[0] if len(factors) == len(failing) else np.nan
    cause, words = _by_the_world(factor, world)
    if cause and all(abs(f - factor) < _GRADIENTS_EQUAL * abs(factor) for f in factors):
        text = f"The gradient is {words} in all of {len(failing)} tensors, and {world} is the number of ranks."
        return [RANKS.found(Verdict.FAILS, text, where="all tensors", cause=cause), *found]
    names = ", ".join(f"`{finding.where}`" for finding in failing[:4])
    text = f"The gradient of the joint loss is wrong in {names}: see WP501."
    return [RANKS.found(Verdict.FAILS, text, where=failing[0].where), *found]


def across_ranks(seen: AcrossRanks) -> Finding:
    """WP507 of one step, by the slope of the mean loss along the gradient that the ranks arrive at."""
    if seen.values_apart or seen.gradients_apart:
        return _not_synchronised(seen.values_apart, seen.gradients_apart)
    if seen.withheld:
        text = f"No rank passes its gradients on: of {len(seen.withheld)} tensors in shards nothing arrives in `grad`."
        return RANKS.found(Verdict.FAILS, text, where=seen.withheld[0], cause="not-synchronised")
    if not seen.claimed:
        return RANKS.undecided("The gradient that the ranks arrive at is zero: there is nothing to compare.")
    if not np.isfinite([seen.claimed, seen.measured]).all():
        return RANKS.undecided("The loss or its gradient is not finite on some rank.")
    if seen.rounding > _SLOPES_EQUAL * abs(seen.claimed):
        return RANKS.undecided("The loss is too coarse to show the slope along the gradient that the ranks arrive at.")
    evidence = (
        Evidence("slope of the mean loss, claimed", seen.claimed),
        Evidence("slope of the mean loss, measured", seen.measured, reference=f"within {_SLOPES_EQUAL:.0%}"),
    )
    if abs(seen.claimed - seen.measured) <= _SLOPES_EQUAL * max(abs(seen.claimed), abs(seen.measured)):
        return RANKS.holds(evidence)
    factor = seen.claimed / seen.measured if seen.measured else np.nan
    cause, words = _by_the_world(factor, seen.world, _SLOPES_EQUAL)
    text = (
        f"The gradient that the ranks arrive at is {words}, and {seen.world} is the number of ranks."
        if cause
        else f"Along the gradient that the ranks arrive at, the mean of their losses has the slope {seen.measured:.4g}"
        f" and not {seen.claimed:.4g}."
    )
    return RANKS.found(Verdict.FAILS, text, where="all tensors", cause=cause, evidence=evidence)


def _not_synchronised(values_apart: Sequence[str], gradients_apart: Sequence[str]) -> Finding:
    names = values_apart or gradients_apart
    what = "values" if values_apart else "gradients"
    text = f"The {what} of {len(names)} tensors differ between ranks: {', '.join(f'`{name}`' for name in names[:4])}."
    return RANKS.found(Verdict.FAILS, text, where=names[0], cause="not-synchronised")


def _by_the_world(factor: float, world: int, within: float = _GRADIENTS_EQUAL) -> tuple[str, str]:
    """The cause that a factor tells of, and its words; neither where it has nothing to do with the number of ranks."""
    for cause, expected in (("world-size", float(world)), ("averaged-twice", 1.0 / world)):
        if world > 1 and abs(factor - expected) < within * expected:
            return cause, f"{world} times too large" if expected > 1 else f"1/{world} of what it should be"
    return "", ""
