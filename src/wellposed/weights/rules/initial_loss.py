"""WP305: the loss at initialisation against that of a constant prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.backends.measured import LossCall
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

_CONSTANT = {"cross_entropy": "same probability for all classes", "squared_error": "best constant prediction"}

_SUSPECT, _FAILS = 1.15, 4.6  # nats above a constant prediction: a factor of 3 and of 100 in its probability
_SMALLER = 0.8
_FAR, _VERY_FAR = 30.0, 1000.0


_STANDARDIZE_TARGETS = Remedy(
    "Standardise the targets (and undo it for predictions)", "t = wp.Standardizer().fit(y_train)\ny = t.transform(y)"
)

INITIAL_LOSS = Rule(
    id="WP305",
    subject="weights",
    priority=250,
    follows=("WP401", "WP101", "WP102", "WP303", "WP301", "WP306", "WP203"),
    cause_follows={"targets-too-large": ("WP401",), "targets-not-centred": ("WP401",)},
    title="loss at initialisation",
    claim="The loss is not far above that of a constant prediction.",
    judged=(
        "Excess in nats over a constant prediction: for cross-entropy the loss minus ln C, that of the same"
        " probability for all C classes; for squared error half the logarithm of the loss over the targets' variance,"
        f" its equivalent for a Gaussian likelihood. Above {_FAILS:g} it fails, above {_SUSPECT:g} it is suspect; the"
        " standard error of the mean over the batch is taken off first. Targets of a squared error whose root mean"
        f" square is {_FAR:g} times that of the outputs (or 1, if that is more) are suspect, {_VERY_FAR:,g} times fail."
        " Logits of standard deviation s cost about s^2 / 2."
    ),
    causes=(
        Cause(
            "logits-too-large",
            "The network is sure of itself before it has seen data: the first steps only shrink the logits.",
            "print(model(inputs).std())",
            (Remedy("Make the output layer small", "with torch.no_grad():\n    head.weight.mul_(0.1)"),),
        ),
        Cause(
            "targets-not-centred",
            "The targets' mean or size is far from what the network gives at initialisation.",
            "print(targets.mean(), targets.std())",
            (_STANDARDIZE_TARGETS,),
            treatment="standardize-targets",
        ),
        Cause(
            "targets-too-large",
            "The targets are many times larger than what a network gives at initialisation.",
            "print(targets.std(), model(inputs).std())",
            (_STANDARDIZE_TARGETS,),
            treatment="standardize-targets",
        ),
    ),
    references=("Karpathy: A Recipe for Training Neural Networks, 2019",),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_start(measured.run.loss_call, measured.with_a_small_output_layer),
    treatment="initialize",
)


def check_start(call: LossCall | None, with_a_small_output_layer: Callable[[], float]) -> Finding:
    """`with_a_small_output_layer` is the loss where that layer's weights are a tenth; asked for before anything is said
    to fail.
    """
    if call is None:
        return INITIAL_LOSS.not_applicable(
            "No known loss function was called on outputs and targets, so there is no constant predictor to compare"
            " with."
        )
    loss = call.per_example
    if loss.size < 2 or not np.isfinite(loss).all():
        return INITIAL_LOSS.undecided("The loss has fewer than two finite terms.")
    mean, error = float(loss.mean()), float(loss.std(ddof=1) / np.sqrt(loss.size))
    lowest = max(mean - 2 * error, 0.0)
    if call.kind == "cross_entropy":
        constant = float(np.log(call.classes))
        excess = lowest - constant
    else:
        constant = float(np.var(call.targets))
        if constant == 0:
            return INITIAL_LOSS.not_applicable(
                "All targets of the batch are equal, so any constant is a perfect prediction."
            )
        excess = 0.5 * float(np.log(max(lowest, 1e-300) / constant))
    evidence = (
        Evidence("mean loss over the batch", mean, "loss", error=2 * error),
        Evidence(
            f"loss of the {_CONSTANT[call.kind]}",
            constant,
            "loss",
            how="ln C" if call.classes else "variance of the targets",
        ),
        Evidence("excess", excess, "loss", unit="nats", reference=f"below {_SUSPECT:g}"),
    )
    too_large = _targets_too_large(call, evidence) if excess <= _FAILS else None
    if too_large is not None:
        return too_large
    of_the_batch = (
        call.kind == "cross_entropy"
        and call.classes == loss.size
        and np.array_equal(call.targets, np.arange(loss.size))
    )
    # Contrastive: similarities over a temperature, which is a choice.
    if excess <= (_FAILS if of_the_batch else _SUSPECT):
        return INITIAL_LOSS.holds(evidence)
    verdict = Verdict.FAILS if excess > _FAILS else Verdict.SUSPECT
    if verdict is Verdict.FAILS and call.kind == "cross_entropy" and not with_a_small_output_layer() < _SMALLER * mean:
        verdict = Verdict.SUSPECT  # the loss's own scale, as of cosines times 64, and not the weights'
    text = f"The loss is {mean:.4g}; the {_CONSTANT[call.kind]} would have {constant:.4g}."
    off_centre = call.kind == "squared_error" and float(np.mean(call.targets)) ** 2 > constant
    cause = "targets-not-centred" if off_centre else "logits-too-large" if call.kind == "cross_entropy" else ""
    return INITIAL_LOSS.found(verdict, text, where="loss", cause=cause, evidence=evidence)


def _targets_too_large(call: LossCall, evidence: tuple[Evidence, ...]) -> Finding | None:
    """Where the targets of a squared error are far larger than what the network makes."""
    size = float(np.sqrt(np.mean(np.square(call.targets)))) if call.kind == "squared_error" else 0.0
    apart = size / max(call.outputs, 1.0) if np.isfinite(call.outputs) else 0.0
    if apart <= _FAR:
        return None
    text = (
        f"The targets have a root mean square of {size:.4g}, the outputs one of {call.outputs:.3g}: weights must"
        " grow by that factor before anything can be learned, and squared errors, with their gradients, begin as"
        " large."
    )
    what = "size of the targets over that of the outputs (or 1)"
    sizes = (Evidence(what, apart, "loss", reference=f"below {_FAR:g}"), *evidence)
    verdict = Verdict.FAILS if apart > _VERY_FAR else Verdict.SUSPECT
    return INITIAL_LOSS.found(verdict, text, where="loss", cause="targets-too-large", evidence=sizes)
