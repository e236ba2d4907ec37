"""From the moments of the inputs to findings: WP101 to WP104."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.inputs.features import Features
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.moments import Moments
from wellposed.rules.inputs import CONSTANT, NOT_FINITE, NOT_STANDARD, UNEQUAL

_JUDGED = (NOT_STANDARD, UNEQUAL, CONSTANT, NOT_FINITE)
_SCALE_SUSPECT, _SCALE_FAILS = 5.0, 10.0  # times 1, either way, of the root mean square of all inputs
_OFFSET_SUSPECT, _OFFSET_FAILS = 30.0, 300.0  # of |mean|^2 over the largest eigenvalue of the covariance
_FEATURES_NAMED = 3
_FEW_ROWS = 8  # fewer tell hardly anything of a standard deviation: its own is a quarter of it
_MOSTLY = 0.4  # share of zeros: half of a ReLU's outputs, and most of a bag of words
_ROUNDING_ULPS = 4.0  # units in the last place
_MOST_ROWS = 4096  # rows of the covariance's sample


def not_judged(reason: str) -> list[Finding]:
    return [rule.not_applicable(reason) for rule in _JUDGED]


def check(features: Features, *, normalised: str = "") -> list[Finding]:
    """Findings for rows of shape [N, D]; every rule of the subject is judged.

    `normalised` says how the model itself scales its inputs, where it does: then their own scale is no fault.
    """
    moments = Moments.of(features.array, features.axes)
    findings = [_not_finite(features, moments)]
    if features.rows.shape[0] < 2:
        return findings + [
            rule.undecided("One row says nothing about the spread of a feature.") for rule in _JUDGED[:3]
        ]
    sparse = _sparse(features)
    constant = _constant(features, moments)
    findings.append(constant)
    if constant.verdict is Verdict.FAILS or not (moments.count > 1).any():
        return findings + [rule.undecided("No feature varies, so there is no spread to judge.") for rule in _JUDGED[:2]]
    if normalised:
        return [NOT_STANDARD.holds(message=normalised), UNEQUAL.holds(message=normalised), *findings]
    few = features.rows.shape[0] < _FEW_ROWS
    text = f"{features.rows.shape[0]} rows say too little about the spread of each feature."
    unequal = UNEQUAL.undecided(text) if few else _unequal(features, moments, sparse=sparse)
    return [_not_standard(features, moments, sparse=sparse), unequal, *findings]


def _sparse(features: Features) -> bool:
    """Whether the inputs are counts, shares or activations that are mostly 0 and never below: then 0 has a meaning that
    centring would take away, and features of different sizes share one unit."""
    rows = features.rows
    return bool(rows.min() >= 0) and float(np.mean(rows == 0)) > _MOSTLY


def _not_standard(features: Features, moments: Moments, *, sparse: bool) -> Finding:
    mean, variance = moments.mean, moments.var
    seen = moments.count > 0
    with np.errstate(over="ignore"):  # infinite for squares beyond float64, and so far from 1
        size = float(np.sqrt(np.mean((mean**2 + variance)[seen])))
    ratio = _offset(features, moments)
    evidence = (
        Evidence(
            "root mean square of the inputs",
            size,
            "inputs",
            reference=f"{1 / _SCALE_SUSPECT:g} to {_SCALE_SUSPECT:g}, best 1",
        ),
        Evidence(
            "|mean|^2 / largest eigenvalue of the covariance",
            ratio,
            "inputs",
            reference=f"below {_OFFSET_SUSPECT:g}, best 0",
            how="what the mean adds to the condition of the first layer",
        ),
    )
    if (
        sparse and size < 1
    ):  # few entries are not 0 in a row: what the first layer makes of it is small, and grows in a few steps
        text = "The inputs are not negative and mostly 0, as counts and shares are: they are taken as they are."
        return NOT_STANDARD.holds(evidence, text)
    off_scale = max(size, 1 / size) if size > 0 else np.inf
    scale_fails, scale_suspect = off_scale > _SCALE_FAILS, off_scale > _SCALE_SUSPECT
    if scale_fails or (scale_suspect and ratio <= _OFFSET_FAILS):
        j = int(np.nanargmax(np.abs(mean) + np.sqrt(variance)))
        verdict = Verdict.FAILS if scale_fails else Verdict.SUSPECT
        text = (
            f"The inputs have a root mean square of {size:.3g}; initial weights are made for 1. The largest feature, "
            f"`{features.where(j)}`, has mean {mean[j]:.3g} and standard deviation {np.sqrt(variance[j]):.3g}."
        )
        return NOT_STANDARD.found(verdict, text, where="inputs", cause="scale", evidence=evidence)
    if ratio > _OFFSET_SUSPECT:
        verdict = Verdict.FAILS if ratio > _OFFSET_FAILS else Verdict.SUSPECT
        text = (
            f"The mean of the inputs outweighs what distinguishes them: |mean|^2 is {ratio:.3g} times the largest"
            " variance in any direction."
        )
        return NOT_STANDARD.found(verdict, text, where="inputs", cause="offset", evidence=evidence)
    return NOT_STANDARD.holds(evidence)


def _offset(features: Features, moments: Moments) -> float:
    """|mean|^2 / lambda_max(covariance), which no change of a common unit alters; 0 where nothing varies."""
    rows = features.rows[:: max(1, features.rows.shape[0] // _MOST_ROWS)]
    unit = float(np.nanmax(np.maximum(np.abs(moments.min), np.abs(moments.max)))) or 1.0
    centred = np.where(np.isfinite(rows), (rows.astype(np.float64) - moments.mean) / unit, 0.0)
    largest = float(np.linalg.norm(centred, 2)) ** 2 / len(centred)
    total = float(np.nansum((moments.mean / unit) ** 2))
    return total / largest if largest > 0 else 0.0


def _over_median(scales: Vector) -> Vector:
    size = scales / scales.max()
    return np.asarray(size / np.median(size))


def _unequal(features: Features, moments: Moments, *, sparse: bool) -> Finding:
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
            "size of the largest feature over the median", float(large[j]), features.where(j), reference="below 10"
        ),
        Evidence(
            "size of the median feature over the smallest", float(small[k]), features.where(k), reference="below 100"
        ),
    )
    verdict = _worse(large[j], 10, 100, small[k], 100, 1000)
    if verdict is Verdict.HOLDS or sparse:
        return UNEQUAL.holds(evidence)
    big = large[j] / 10 >= small[k] / 100
    where, factor = (features.where(j), large[j]) if big else (features.where(k), small[k])
    word = "larger" if big else "smaller"
    text = (
        f"`{where}` is {factor:.3g} times {word} than the median feature (standard deviation"
        f" {deviation[j if big else k]:.3g})."
    )
    return UNEQUAL.found(verdict, text, where=where, cause="units", evidence=evidence)


def _rounding_alone(features: Features, moments: Moments) -> Array:
    """Which features vary by no more than their own last digits, as a constant does that was mixed or rescaled."""
    dtype = features.array.dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return np.asarray(moments.std <= _ROUNDING_ULPS * eps * np.abs(moments.mean))


def _worse(
    large: float, large_suspect: float, large_fails: float, small: float, small_suspect: float, small_fails: float
) -> Verdict:
    if large > large_fails or small > small_fails:
        return Verdict.FAILS
    if large > large_suspect or small > small_suspect:
        return Verdict.SUSPECT
    return Verdict.HOLDS


def _constant(features: Features, moments: Moments) -> Finding:
    constant = moments.constant
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
    if features.rows.shape[0] < _FEW_ROWS:
        return CONSTANT.undecided(
            f"{features.rows.shape[0]} rows say too little: {number} of {constant.size} features have one value in all."
        )
    values = np.unique(features.rows[0, constant])
    others = features.rows[:, ~constant]
    if features.array.ndim > 2 or all(value == 0 or (others == value).any() for value in values):
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


def _not_finite(features: Features, moments: Moments) -> Finding:
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
