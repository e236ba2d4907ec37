"""WP103: constant feature."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.inputs.measured import MeasuredInputs
from wellposed.rule import Cause, Rule

_FEATURES_NAMED = 3
_TABLE = 2  # axes of an array whose features are columns; images have more

CONSTANT = Rule(
    id="WP103",
    subject="inputs",
    priority=110,
    title="constant feature",
    claim="Every feature varies.",
    judged=(
        "A feature is constant when its smallest and largest value are the same number. Some constant features are"
        " suspect (they carry nothing, and dividing by their standard deviation gives NaN); inputs in which every"
        " feature is constant fail."
    ),
    causes=(
        Cause(
            "constant",
            "The feature has one value in all rows seen: a dead sensor, a border pixel, or a column filled in wrongly.",
            remedies=(Remedy("Drop the feature, or let wp.Standardizer leave it at zero"),),
        ),
        Cause(
            "all-constant",
            "All rows are the same: the data were overwritten, broadcast or read from one place.",
            remedies=(Remedy("Print two different rows of the batch and look where they become equal"),),
        ),
    ),
    figures=("inputs",),
    judge=lambda measured: judge(measured),
)


def judge(measured: MeasuredInputs) -> Finding:
    features = measured.features
    if features.rows.shape[0] < 2:
        return CONSTANT.undecided("One row says nothing about the spread of a feature.")
    constant = measured.moments.constant
    number = int(constant.sum())
    evidence = (Evidence("constant features", number, "inputs", unit=f"of {constant.size}", reference="0"),)
    if number == 0:
        return CONSTANT.holds(evidence)
    if number == constant.size:
        text = (
            f"All {number} features have one value in all {features.rows.shape[0]} rows: the inputs tell no example"
            " from another."
        )
        return CONSTANT.found(Verdict.FAILS, text, where="inputs", cause="all-constant", evidence=evidence)
    if measured.few:
        return CONSTANT.undecided(
            f"{features.rows.shape[0]} rows say too little: {number} of {constant.size} features have one value in all."
        )
    values = np.unique(features.rows[0, constant])
    others = features.rows[:, ~constant]
    if features.array.ndim > _TABLE or all(value == 0 or (others == value).any() for value in values):
        # The background of an image, an absent word, a category or padding, as elsewhere too: it adds nothing, and
        # costs nothing.
        return CONSTANT.holds(evidence)
    first = [features.where(int(j)) for j in np.flatnonzero(constant)[:_FEATURES_NAMED]]
    more = f" and {number - _FEATURES_NAMED} more" if number > _FEATURES_NAMED else ""
    text = (
        f"{number} of {constant.size} features have one value in all rows:"
        f" {', '.join(f'`{place}`' for place in first)}{more}."
    )
    return CONSTANT.found(Verdict.SUSPECT, text, where=first[0], cause="constant", evidence=evidence)
