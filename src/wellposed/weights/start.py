"""WP305: the loss at initialisation against that of a constant prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.backends.measured import LossCall
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rules.weights import INITIAL_LOSS

_CONSTANT = {"cross_entropy": "same probability for all classes", "squared_error": "best constant prediction"}

_SUSPECT, _FAILS = 1.15, 4.6  # nats above a constant prediction: a factor of 3 and of 100 in its probability
_SMALLER = 0.8
_FAR, _VERY_FAR = 30.0, 1000.0


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
