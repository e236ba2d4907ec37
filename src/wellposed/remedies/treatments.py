"""What can be done to a copy of a problem, by the name that rules give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.catalogue import CATALOGUE
from wellposed.findings import Finding
from wellposed.numerics.arrays import Array
from wellposed.remedies.losses import loss_after
from wellposed.weights.plan import initialize_weights

_USUAL_UPDATE, _UPDATE_LOST = (
    1e-3,
    1e-8,
)  # a step over the weights; where all of it is lost in rounding it is about the latter

Apply = Callable[[Problem, Finding], Problem | None]


@dataclass(frozen=True, slots=True)
class Treatment:
    """`apply` does to a copy what the first remedy of the finding says, and returns None where that cannot be done."""

    apply: Apply
    same_loss: bool = False  # whether losses before and after are of one objective, and may be compared


def _standardized(values: Array) -> Array:
    """By feature: the last axis of [N, D], the second of [N, C, ...]."""
    axes = tuple(axis for axis in range(values.ndim) if axis != min(1, values.ndim - 1)) if values.ndim > 1 else (0,)
    mean, std = values.mean(axis=axes, keepdims=True), values.std(axis=axes, keepdims=True)
    return np.asarray((values - mean) / np.where(std > 0, std, 1.0))


def _initialized(problem: Problem, _finding: Finding) -> Problem | None:
    subject = problem.network.reinitialized()
    if subject is None:
        return None
    initialize_weights(subject, "auto", 0, dry_run=False)
    return problem


def _at_rate(problem: Problem, finding: Finding) -> Problem | None:
    """With the learning rate that the rule found to work."""
    rate = next((remedy.rate for remedy in finding.remedies if remedy.rate), None)
    now = problem.training.rate
    return None if rate is None else problem.variants.with_rate(rate / now if isfinite(now) else rate)


def _by(route: str) -> Apply:
    """The loss function called on other arguments; None where that changes nothing."""

    def apply(problem: Problem, _finding: Finding) -> Problem | None:
        treated = problem.variants.rerouted(route)
        return None if treated is None or loss_after(treated, 0) == loss_after(problem, 0) else treated

    return apply


def _faster(problem: Problem, finding: Finding) -> Problem | None:
    """With the learning rate that the rule found to work, else with steps of a thousandth of the weights."""
    tried = _at_rate(problem, finding)
    if tried is not None:
        return tried
    ratio = next((entry.value for entry in finding.evidence if entry.quantity.startswith("size of a step")), 0.0)
    return problem.variants.with_rate(_USUAL_UPDATE / max(ratio, _UPDATE_LOST))


TREATMENTS: dict[str, Treatment] = {
    "standardize-inputs": Treatment(
        lambda problem, _finding: problem.variants.with_data(inputs=_standardized), same_loss=True
    ),
    "standardize-targets": Treatment(lambda problem, _finding: problem.variants.with_data(targets=_standardized)),
    "initialize": Treatment(_initialized, same_loss=True),
    "scores": Treatment(_by("scores")),
    "logits": Treatment(_by("logits")),
    "shape": Treatment(_by("shape")),
    "classes": Treatment(_by("classes")),
    "train-all": Treatment(lambda problem, _finding: problem.variants.all_trained(), same_loss=True),
    "lower-rate": Treatment(_at_rate, same_loss=True),
    "raise-rate": Treatment(_faster, same_loss=True),
}
"""By the name that rules and causes give."""


def treatment_of(finding: Finding) -> Treatment | None:
    """That of the finding's cause, or of its rule; None where nothing can be tried."""
    rule = CATALOGUE[finding.rule]
    named = (rule.cause(finding.cause).treatment if finding.cause else "") or rule.treatment
    return TREATMENTS[named] if named else None
