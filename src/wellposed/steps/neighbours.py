"""Do the nearest neighbours of an input agree in its target?"""

from __future__ import annotations

import numpy as np

from wellposed.backends.watched import Learnable
from wellposed.numerics.arrays import Array

_LEAST, _MOST = 200, 1000  # rows
_NEIGHBOURS = 5
_SHUFFLES = 100
_EACH = 10  # rows for each class, at least


def learnable(inputs: Array, targets: Array) -> Learnable | None:
    """None where it cannot be told: too few rows, inputs that are no real numbers, or too many classes."""
    rows = min(len(inputs), len(targets), _MOST)
    if rows < _LEAST or inputs.dtype.kind != "f" or inputs[0].size == 0:
        return None
    x = inputs[:rows].reshape(rows, -1).astype(float)
    spread = x.std(axis=0)
    x = x[:, spread > 0] / spread[spread > 0]
    y = targets[:rows].reshape(rows, -1)
    classes = y.dtype.kind in "iub" and y.shape[1] == 1
    if not x.size or not np.isfinite(x).all() or (y == y[0]).all():
        return None
    if classes and len(np.unique(y)) * _EACH > rows:
        return None
    squares = (x**2).sum(axis=1)
    apart = squares[:, None] - 2 * x @ x.T + squares
    np.fill_diagonal(apart, np.inf)
    near = np.argpartition(apart, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
    draw = np.random.default_rng(0)
    shuffled = np.array([_agreement(y[draw.permutation(rows)], near, classes) for _ in range(_SHUFFLES)])
    if not shuffled.std() > 0:
        return None
    return Learnable(rows, float((_agreement(y, near, classes) - shuffled.mean()) / shuffled.std()))


def _agreement(y: Array, near: Array, classes: bool) -> float:
    if classes:
        return float((y[near][..., 0] == y).mean())
    return -float(((y[near].mean(axis=1) - y) ** 2).mean())
