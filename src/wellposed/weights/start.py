"""WP305: the loss at initialisation against that of a constant prediction."""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import LossCall
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rules.weights import INITIAL_LOSS

_CONSTANT = {"cross_entropy": "same probability for all classes", "squared_error": "best constant prediction"}


def check_start(call: LossCall | None) -> Finding:
    if call is None:
        return INITIAL_LOSS.undecided(
            "No known loss function was called on outputs and targets, so there is no constant predictor to compare with."
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
            return INITIAL_LOSS.undecided("All targets of the batch are equal, so any constant is a perfect prediction.")
        excess = 0.5 * float(np.log(max(lowest, 1e-300) / constant))
    evidence = (
        Evidence("mean loss over the batch", mean, "loss", error=2 * error),
        Evidence(f"loss of the {_CONSTANT[call.kind]}", constant, "loss", how="ln C" if call.classes else "variance of the targets"),
        Evidence("excess", excess, "loss", unit="nats", reference="below 1.15"),
    )
    if excess <= 1.15:
        return INITIAL_LOSS.holds(evidence)
    verdict = Verdict.FAILS if excess > 4.6 else Verdict.SUSPECT
    text = f"The loss is {mean:.4g}; the {_CONSTANT[call.kind]} would have {constant:.4g}."
    off_centre = call.kind == "squared_error" and float(np.mean(call.targets)) ** 2 > constant
    cause = "targets-not-centred" if off_centre else "logits-too-large" if call.kind == "cross_entropy" else ""
    return INITIAL_LOSS.found(verdict, text, where="loss", cause=cause, evidence=evidence)
