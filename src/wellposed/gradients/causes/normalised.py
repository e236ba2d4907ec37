"""A normalisation whose backward pass forgets that the mean, or the variance, depends on the input too."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.wrong_tensor import FEWEST_TELLING, Suspect
from wellposed.numerics.arrays import Vector

_ADDED = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3)


def batch_statistics(suspect: Suspect) -> Explanation | None:
    """With the claim's mean, or its part along the normalised input, taken away, it is right.

    For y = (x - mean) / std the gradient is (g - mean(g) - y mean(g y)) / std (Ioffe & Szegedy 2015): without either
    term it is that of fixed statistics. Also for a bias just before the normalisation, whose true gradient is zero.
    """
    claim, x = suspect.claim, suspect.theta
    if not np.isfinite(x).all() or claim.size < FEWEST_TELLING:
        return None
    axes = range(claim.ndim)
    for over in (over for count in range(1, claim.ndim + 1) for over in combinations(axes, count)):
        without_mean = claim - claim.mean(over, keepdims=True)
        if suspect.fits(without_mean):
            return _said("the mean depends", over)
        for y in _normalised(x, over):
            along = y * (claim * y).mean(over, keepdims=True)
            if suspect.fits(claim - along):
                return _said("the variance depends", over)
            if suspect.fits(without_mean - along):
                return _said("the mean and the variance depend", over)
        for size in _sizes(x, over):
            if suspect.fits(claim / size):
                text = (
                    f"It was not divided by the norm or the standard deviation (over axis {', '.join(map(str, over))})"
                    " of what came in."
                )
                return Explanation("batch-statistics", text)
        for y in _of_norm_one(x, over):
            if suspect.fits(claim - y * (claim * y).sum(over, keepdims=True)):
                return _said("the norm depends", over)
    if suspect.fits(np.zeros_like(claim)) and claim.ndim == 1:
        return Explanation(
            "batch-statistics",
            "Its true gradient is zero: a normalisation after it takes away whatever it adds, and the backward pass"
            " forgets that the mean depends on it.",
        )
    return _invariant(suspect)


def _said(forgotten: str, over: tuple[int, ...]) -> Explanation:
    axes = ", ".join(map(str, over))
    text = (
        f"Its normalisation's backward pass forgets that {forgotten} on the input (axis {axes}): with that, the claim"
        " agrees with the loss."
    )
    return Explanation("batch-statistics", text)


def _normalised(x: Vector, over: tuple[int, ...]) -> Iterator[Vector]:
    """x normalised, with each of the constants that are usually added to the variance."""
    centred = x - x.mean(over, keepdims=True)
    variance = (centred**2).mean(over, keepdims=True)
    for constant in _ADDED:
        if variance.min() + constant > 0:
            yield centred / np.sqrt(variance + constant)


def _sizes(x: Vector, over: tuple[int, ...]) -> Iterator[Vector]:
    norm = np.sqrt((x**2).sum(over, keepdims=True))
    variance = x.var(over, keepdims=True)
    yield from (np.sqrt(variance + constant) for constant in _ADDED if variance.min() + constant > 0)
    if norm.min() > 0:
        yield norm


def _of_norm_one(x: Vector, over: tuple[int, ...]) -> Iterator[Vector]:
    count = x.size // max(int(np.prod(np.delete(x.shape, over))), 1)
    square = (x**2).sum(over, keepdims=True)
    yield from (x / np.sqrt(square + count * constant) for constant in _ADDED if square.min() + constant > 0)


def _invariant(suspect: Suspect) -> Explanation | None:
    """The loss does not change when the weights of every unit are scaled, as before a normalisation; the claim says
    that it does.
    """
    claim, theta = suspect.claim, suspect.theta
    if claim.ndim < 2:
        return None
    for axis in (claim.ndim - 1, 0):
        over = tuple(k for k in range(claim.ndim) if k != axis)
        random = np.random.default_rng(2).uniform(0.5, 1.5, claim.shape[axis])
        scaling = theta * np.reshape(random, [-1 if k == axis else 1 for k in range(claim.ndim)])
        line = suspect.measure(scaling.ravel() / suspect.residuals.sizes)
        claimed = float((claim * scaling).sum())
        if abs(claimed) > 30 * line.missing.bar and abs(line.missing.value + claimed) <= 2 * line.missing.bar:
            text = (
                f"The loss does not change as the weights of each unit (axis {axis}) are scaled, as before a"
                " normalisation, but the gradient says it does: the backward pass forgets that the statistics (over"
                f" axis {', '.join(map(str, over))}) depend on the input."
            )
            return Explanation("batch-statistics", text)
    return None
