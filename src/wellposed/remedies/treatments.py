"""What can be done to a copy of a problem, by rule and cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wellposed.backends.protocol import Problem
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
    """`title` and `code` say to the user what `apply` does to the copy it is given; it returns None where it cannot be
    done.
    """

    title: str
    code: str
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
    rate = next((remedy.code.removeprefix("lr=") for remedy in finding.remedies if remedy.code.startswith("lr=")), "")
    return problem.variants.with_rate(float(rate) / problem.training.rate) if rate else None


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


INPUTS = Treatment(
    "Standardise the inputs, with the training set's numbers everywhere",
    "standardizer = wp.Standardizer().fit(x_train)\nx = standardizer.transform(x)",
    lambda problem, _finding: problem.variants.with_data(inputs=_standardized),
    same_loss=True,
)
TARGETS = Treatment(
    "Standardise the targets (and undo it for predictions)",
    "t = wp.Standardizer().fit(y_train)\ny = t.transform(y)",
    lambda problem, _finding: problem.variants.with_data(targets=_standardized),
)
WEIGHTS = Treatment("Initialise every layer for its place", "wp.initialize(model, batch)", _initialized, same_loss=True)
SCORES = Treatment(
    "Give the loss the last layer's outputs, without the activation or softmax",
    "loss = criterion(scores, targets)",
    _by("scores"),
)
LOGITS = Treatment(
    "Take the loss that is made for scores",
    "criterion = nn.CrossEntropyLoss()  # for nll_loss; nn.BCEWithLogitsLoss() for BCELoss",
    _by("logits"),
)
SHAPE = Treatment(
    "Give outputs and targets one shape", "loss = criterion(outputs, targets.reshape(outputs.shape))", _by("shape")
)
CLASSES = Treatment(
    "Give class indices, whole numbers from 0 on",
    "targets = targets.long()  # targets.argmax(1) of one-hot rows, targets - 1 where they start at 1",
    _by("classes"),
)
PARAMETERS = Treatment(
    "Build the optimizer from all parameters, when the model is complete",
    "optimizer = torch.optim.Adam(model.parameters(), lr=...)",
    lambda problem, _finding: problem.variants.all_trained(),
    same_loss=True,
)
RATE = Treatment("Lower the learning rate", "", _at_rate, same_loss=True)
LARGER = Treatment("Raise the learning rate", "", _faster, same_loss=True)

TREATMENTS: dict[tuple[str, str], Treatment] = {
    ("WP101", ""): INPUTS,
    ("WP102", ""): INPUTS,
    ("WP205", "inputs-too-large"): WEIGHTS,
    ("WP305", "targets-not-centred"): TARGETS,
    ("WP305", "targets-too-large"): TARGETS,
    ("WP401", "broadcast"): SHAPE,
    ("WP401", "missing-log-softmax"): LOGITS,
    ("WP401", "missing-sigmoid"): LOGITS,
    ("WP401", "shapes"): SHAPE,
    ("WP402", "rounded-away"): LARGER,
    ("WP402", "too-large"): RATE,
    ("WP402", "too-small"): LARGER,
    ("WP403", "not-in-optimizer"): PARAMETERS,
    **{(rule, ""): WEIGHTS for rule in ("WP201", "WP202", "WP203", "WP204", "WP206")},
    **{(rule, ""): WEIGHTS for rule in ("WP301", "WP302", "WP303", "WP304", "WP305", "WP306")},
    **{("WP401", cause): CLASSES for cause in ("class-range", "one-hot", "target-dtype")},
    **{("WP401", cause): SCORES for cause in ("double-softmax", "double-sigmoid", "bounded-scores")},
    **{("WP401", cause): SCORES for cause in ("rectified-scores", "wrong-softmax-axis", "target-range")},
}
"""By rule and cause; the cause "" stands for every cause that has none of its own."""


def treatment_of(finding: Finding) -> Treatment | None:
    return TREATMENTS.get((finding.rule, finding.cause)) or TREATMENTS.get((finding.rule, ""))
