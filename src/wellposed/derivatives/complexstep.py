"""The complex step: Im f(x + ih) / h subtracts nothing, so that nothing cancels (Squire & Trapp 1998)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from wellposed.derivatives.estimate import Estimate
from wellposed.numerics.arrays import Array

_STEPS = (2.0**-90, 2.0**-70)
_ULPS = 16.0
NOT_ANALYTIC = (
    "the complex step disagrees with differences: f is not analytic code (abs, conj, real, a comparison or a cast drops"
    " the imaginary part)"
)


def by_complex_step(differences: Estimate, imaginary: Callable[[float], Array], eps: float, calls: int = 1) -> Estimate:
    """The estimate by complex steps, where it lies within the bar of the one by differences.

    `imaginary(h)` is Im f(x + ih) / h for h in units of x's scale, in `calls` evaluations of f. The bar is the rounding
    of f itself, whose precision is `eps`, seen by two very different steps. Where the two ways disagree `value` is NaN
    and `reason` says so.
    """
    fine, coarse = (np.asarray(imaginary(h), dtype=np.float64) for h in _STEPS)
    error = np.abs(fine - coarse) + _ULPS * eps * np.abs(fine)
    known = np.isfinite(differences.error)
    apart = known & ~(np.abs(fine - differences.value) <= 3 * np.asarray(differences.error) + error)
    wrong = ~known | apart
    value, error = np.where(wrong, np.nan, fine), np.where(wrong, np.inf, error)
    scalar = np.ndim(differences.value) == 0
    return replace(
        differences,
        value=float(value) if scalar else value,
        error=float(error) if scalar else error,
        evaluations=differences.evaluations + 2 * calls,
        reason=differences.reason or (NOT_ANALYTIC if apart.any() else ""),
    )
