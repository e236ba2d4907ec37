"""Whether a weight has been trained: its entries or its spectrum say so.

Uniform entries end at sqrt(3) times their deviation and have a kurtosis of 1.8, Gaussian ones one of 3, those cut off
at two deviations one of 2.4. Training blurs the edges of a uniform distribution: entries beyond them at a kurtosis
below 2.25 are drawn by no scheme.

The singular values of a matrix of independent entries end at s (sqrt(O) + sqrt(I)) (Marchenko & Pastur 1967; the
largest of them stays within some n^-2/3 of it), and no usual initialisation goes beyond. Training adds directions of
its own, which stand out (Martin & Mahoney 2021).
"""

from __future__ import annotations

import numpy as np

from wellposed.numerics.arrays import Vector
from wellposed.numerics.fans import Fan

_MANY_ALIKE = 0.1  # share of rows that repeat another

_ABOVE_RANDOM = 1.25
_FEWEST_ROWS = 16
_MOST_ROWS_READ = 512
_SAME_SPECTRUM = 0.99
_STEPS, _FAR = 12, 6.0
_BETWEEN, _BLUR = 2.25, 0.02


def is_trained(maps: Vector) -> bool:
    """Whether a weight [S, O, I] is one that no scheme draws."""
    return _blurred(maps) or _stands_out(maps)


def newly_drawn(weight: Vector, fan: Fan) -> bool:
    """Whether all entries are within the bounds of a uniform distribution that a framework draws a new layer from, and
    fill them.

    1 / sqrt(fan_in) is PyTorch's, sqrt(6 / (fan_in + fan_out)) Keras's, sqrt(6 / fan_in) He's; one step of training
    goes beyond.
    """
    size, largest = float(np.sqrt(np.mean(weight**2))), float(np.abs(weight).max())
    bounds = fan.fan_in**-0.5, (6 / (fan.fan_in + fan.fan_out)) ** 0.5, (6 / fan.fan_in) ** 0.5
    return any(
        largest <= bound * (1 + 1e-6) and abs(size * 3**0.5 / bound - 1) < _BLUR + 2 * weight.size**-0.5
        for bound in bounds
    )


def _blurred(weight: Vector) -> bool:
    kurtosis, beyond, error = _edges(weight)
    return (
        weight.size >= _FEWEST_ROWS**2 // 4
        and kurtosis < _BETWEEN
        and beyond > _BLUR + 4 * error
        and len(np.unique(weight)) > weight.size // 2
    )


def _edges(weight: Vector) -> tuple[float, float, float]:
    """Kurtosis, how far the largest entry is beyond a uniform distribution's edge, and the standard error of both."""
    values = np.asarray(weight, dtype=np.float64).ravel()
    square = float(np.mean(values**2)) if values.size else 0.0
    if not (0 < square < np.inf):
        return np.nan, np.nan, np.inf
    kurtosis = float(np.mean(values**4)) / square**2
    return kurtosis, float(np.abs(values).max()) / (3 * square) ** 0.5 - 1, values.size**-0.5


def _stands_out(maps: Vector) -> bool:
    """Whether singular values of one of the maps [S, O, I] stand out, though no two of its rows are alike.

    Rows alike, a constant and a mean far from 0 stand out too, and are no training: they are what is to be mended.
    Small matrices are never taken for trained, of large ones a part is looked at.
    """
    one = np.asarray(maps[0][:_MOST_ROWS_READ, :_MOST_ROWS_READ], dtype=np.float64)
    if min(one.shape) < _FEWEST_ROWS or not np.isfinite(one).all() or not one.any():
        return False
    centred = one - one.mean()
    deviation = float(centred.std())
    if deviation <= 0.1 * abs(float(one.mean())):
        return False
    centred = np.clip(centred, -_FAR * deviation, _FAR * deviation)  # a few wild entries are no direction
    deviation = float(centred.std())
    edge = deviation * (one.shape[0] ** 0.5 + one.shape[1] ** 0.5)
    if _largest(centred) <= _ABOVE_RANDOM * edge:
        return False
    rows = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-300)
    alike = np.abs(rows @ rows.T) > _SAME_SPECTRUM
    return not bool((alike.sum(axis=1) > 1).mean() > _MANY_ALIKE)


def _largest(matrix: Vector) -> float:
    """The largest singular value from below, by power iteration: one that stands out is found in a few steps."""
    v: Vector = np.random.default_rng(0).standard_normal((matrix.shape[1],))
    u: Vector = v
    for _ in range(_STEPS):
        u = matrix @ (v / np.linalg.norm(v))
        v = matrix.T @ u
    return float(np.linalg.norm(u))
