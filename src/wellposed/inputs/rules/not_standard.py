"""WP101: inputs not centred or scaled."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.inputs.features import Features
from wellposed.inputs.measured import MeasuredInputs
from wellposed.inputs.rules.words import LECUN, STANDARDIZE
from wellposed.numerics.moments import Moments
from wellposed.rule import Cause, Rule

_SCALE_SUSPECT, _SCALE_FAILS = 5.0, 10.0  # times 1, either way, of the root mean square of all inputs
_OFFSET_SUSPECT, _OFFSET_FAILS = 30.0, 300.0  # of |mean|^2 over the largest eigenvalue of the covariance
_MOST_ROWS = 4096  # rows of the covariance's sample

NOT_STANDARD = Rule(
    id="WP101",
    subject="inputs",
    priority=90,
    title="inputs not centred or scaled",
    claim="The inputs are centred and of the size that initial weights are made for.",
    judged=(
        "Size: the root mean square over all features, which initial weights expect near 1. Beyond a factor of "
        f"{_SCALE_FAILS:g} it fails ({_SCALE_FAILS**2:g} in variance: activations saturate, or the biases drown the"
        f" signal); beyond {_SCALE_SUSPECT:g} it is suspect. "
        "Centring, free of the unit: |mean|^2 over the largest eigenvalue of the covariance, the factor by which "
        f"the mean worsens the condition of the first layer. Beyond {_OFFSET_FAILS:g} it fails, beyond"
        f" {_OFFSET_SUSPECT:g} it is suspect."
    ),
    causes=(
        Cause(
            "scale", "The numbers are far from size 1, as raw pixels, counts or prices are.", remedies=(STANDARDIZE,)
        ),
        Cause(
            "offset",
            "The mean is far larger than the spread: every example looks almost the same to the first layer.",
            remedies=(STANDARDIZE,),
        ),
    ),
    references=(LECUN,),
    figures=("inputs",),
    judge=lambda measured: judge(measured),
    treatment="standardize-inputs",
)


def judge(measured: MeasuredInputs) -> Finding:
    left_open = measured.leave_open(NOT_STANDARD)
    if left_open is not None:
        return left_open
    features, moments = measured.features, measured.moments
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
        measured.sparse and size < 1
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
