"""Whether a weight has been trained: its spectrum says so.

The singular values of a matrix of independent entries end at s (sqrt(O) + sqrt(I)) (Marchenko & Pastur 1967; the largest of them
stays within some n^-2/3 of it), and no usual initialisation goes beyond. Training adds directions of its own, which stand out
(Martin & Mahoney 2021).
"""

from __future__ import annotations

import numpy as np

from wellposed.numerics.arrays import Vector

_BEYOND = 1.25
_LEAST = 16
_MOST = 512
_SAME = 0.99
_STEPS, _FAR = 12, 6.0


def trained(maps: Vector) -> bool:
    """Whether singular values of one of the maps [S, O, I] stand out, though no two of its rows are alike.

    Rows alike, a constant and a mean far from 0 stand out too, and are no training: they are what is to be mended. Small matrices are
    never taken for trained, of large ones a part is looked at.
    """
    one = np.asarray(maps[0][:_MOST, :_MOST], dtype=np.float64)
    if min(one.shape) < _LEAST or not np.isfinite(one).all() or not one.any():
        return False
    centred = one - one.mean()
    deviation = float(centred.std())
    if deviation <= 0.1 * abs(float(one.mean())):
        return False
    centred = np.clip(centred, -_FAR * deviation, _FAR * deviation)  # a few wild entries are no direction
    deviation = float(centred.std())
    edge = deviation * (one.shape[0] ** 0.5 + one.shape[1] ** 0.5)
    if _largest(centred) <= _BEYOND * edge:
        return False
    rows = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-300)
    alike = np.abs(rows @ rows.T) > _SAME
    return not bool((alike.sum(axis=1) > 1).mean() > 0.1)


def _largest(matrix: Vector) -> float:
    """The largest singular value from below, by power iteration: one that stands out is found in a few steps."""
    v: Vector = np.random.default_rng(0).standard_normal((matrix.shape[1],))
    u: Vector = v
    for _ in range(_STEPS):
        u = matrix @ (v / np.linalg.norm(v))
        v = matrix.T @ u
    return float(np.linalg.norm(u))
