"""WP102: feature scales differ widely."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.inputs.features import Features
from wellposed.inputs.measured import MeasuredInputs
from wellposed.inputs.rules.words import LECUN, STANDARDIZE
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.moments import Moments
from wellposed.rule import Cause, Rule

_LARGE_SUSPECT, _LARGE_FAILS = 10.0, 100.0  # the largest feature over the median
_SMALL_SUSPECT, _SMALL_FAILS = 100.0, 1000.0  # the median feature over the smallest
_ROUNDING_ULPS = 4.0  # units in the last place

UNEQUAL = Rule(
    id="WP102",
    subject="inputs",
    priority=100,
    title="feature scales differ widely",
    claim="The features are of comparable size.",
    judged=(
        "The size of a feature is the smaller of two ratios to the median feature: of standard deviations and of half"
        " ranges, so that a rarely active feature does not count as a small unit. A feature"
        f" {_LARGE_FAILS:g} times larger, or {_SMALL_FAILS:,g} times smaller, than the median fails;"
        f" {_LARGE_SUSPECT:g} times larger, or {_SMALL_SUSPECT:g} times smaller, is suspect."
    ),
    causes=(
        Cause(
            "units",
            "Features were measured in different units: the largest one decides the learning rate, the others hardly"
            " move.",
            remedies=(STANDARDIZE,),
        ),
    ),
    references=(LECUN,),
    figures=("inputs",),
    judge=lambda measured: judge(measured),
    treatment="standardize-inputs",
)


def judge(measured: MeasuredInputs) -> Finding:
    left_open = measured.leave_open(UNEQUAL)
    if left_open is not None:
        return left_open
    features, moments = measured.features, measured.moments
    if measured.few:
        return UNEQUAL.undecided(f"{features.rows.shape[0]} rows say too little about the spread of each feature.")
    varies = ~moments.constant & (moments.count > 1) & ~_rounding_alone(features, moments)
    deviation, half_range = moments.std, moments.max / 2 - moments.min / 2
    if varies.sum() < 2:
        return UNEQUAL.holds(message="There is one feature, so there is nothing to compare.")
    relative = np.full((2, varies.size), np.nan)
    for row, scales in enumerate((deviation, half_range)):
        relative[row, varies] = _over_median(scales[varies])
    large, small = relative.min(axis=0), 1 / relative.max(axis=0)
    j, k = int(np.nanargmax(large)), int(np.nanargmax(small))
    evidence = (
        Evidence(
            "size of the largest feature over the median",
            float(large[j]),
            features.where(j),
            reference=f"below {_LARGE_SUSPECT:g}",
        ),
        Evidence(
            "size of the median feature over the smallest",
            float(small[k]),
            features.where(k),
            reference=f"below {_SMALL_SUSPECT:g}",
        ),
    )
    verdict = _worse(float(large[j]), float(small[k]))
    if verdict is Verdict.HOLDS or measured.sparse:
        return UNEQUAL.holds(evidence)
    big = large[j] / _LARGE_SUSPECT >= small[k] / _SMALL_SUSPECT
    where, factor = (features.where(j), large[j]) if big else (features.where(k), small[k])
    word = "larger" if big else "smaller"
    text = (
        f"`{where}` is {factor:.3g} times {word} than the median feature: its standard deviation is"
        f" {deviation[j if big else k]:.3g}."
    )
    return UNEQUAL.found(verdict, text, where=where, cause="units", evidence=evidence)


def _over_median(scales: Vector) -> Vector:
    size = scales / scales.max()
    return np.asarray(size / np.median(size))


def _rounding_alone(features: Features, moments: Moments) -> Array:
    """Which features vary by no more than their own last digits, as a constant does that was mixed or rescaled."""
    dtype = features.array.dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return np.asarray(moments.std <= _ROUNDING_ULPS * eps * np.abs(moments.mean))


def _worse(large: float, small: float) -> Verdict:
    if large > _LARGE_FAILS or small > _SMALL_FAILS:
        return Verdict.FAILS
    return Verdict.SUSPECT if large > _LARGE_SUSPECT or small > _SMALL_SUSPECT else Verdict.HOLDS
