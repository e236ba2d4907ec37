"""WP104: NaN or infinity in the data."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.inputs.measured import MeasuredInputs
from wellposed.numerics.arrays import Vector
from wellposed.rule import Cause, Rule

NOT_FINITE = Rule(
    id="WP104",
    subject="inputs",
    priority=10,
    title="NaN or infinity in the data",
    claim="All numbers in the data are finite.",
    judged="One NaN or infinity fails: it reaches every weight in the first backward pass.",
    causes=(
        Cause(
            "nan",
            "Missing values were read as NaN, or a constant feature was divided by its standard deviation of zero.",
            remedies=(Remedy("Impute or drop the rows", "x = x[np.isfinite(x).all(axis=1)]"),),
        ),
        Cause(
            "infinity",
            "A logarithm of zero, a division by zero, or a number too large for the dtype.",
            remedies=(Remedy("Find the first infinite entry", "np.argwhere(np.isinf(x))[0]"),),
        ),
    ),
    judge=lambda measured: judge(measured),
)


def judge(measured: MeasuredInputs) -> Finding:
    features, moments = measured.features, measured.moments
    counts: dict[str, Vector] = {"nan": moments.nan_count, "infinity": moments.inf_count}
    evidence = tuple(
        Evidence("NaN" if cause == "nan" else "infinity", float(count.sum()), "inputs", unit="entries", reference="0")
        for cause, count in counts.items()
    )
    for cause, count in counts.items():
        if count.any():
            j = int(np.argmax(count > 0))
            bad = np.isnan if cause == "nan" else np.isinf
            row = int(np.argmax(bad(features.rows[:, j].astype(np.float64))))
            text = (
                f"{int(count.sum())} of {features.rows.size} numbers are {'NaN' if cause == 'nan' else 'infinite'}, in"
                f" {int((count > 0).sum())} of {count.size} features; the first is in `{features.where(j)}`, row {row}."
            )
            return NOT_FINITE.found(Verdict.FAILS, text, where=features.where(j), cause=cause, evidence=evidence)
    return NOT_FINITE.holds(evidence)
