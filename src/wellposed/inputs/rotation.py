"""Rows turned by a matrix, a block at a time."""

from __future__ import annotations

import numpy as np

from wellposed.inputs.features import Features
from wellposed.numerics.arrays import Array, Vector


def rotated(
    features: Features, out: Array, mean: tuple[Vector, Vector], scale: Vector, matrix: Vector, *, forward: bool
) -> None:
    """Whitening needs whole rows: [N, D] in float64, a part at a time."""
    moved = np.moveaxis(
        features.array, features.axes, range(features.array.ndim - len(features.axes), features.array.ndim)
    )
    target = np.moveaxis(out, features.axes, range(out.ndim - len(features.axes), out.ndim))
    for start in range(0, len(moved), 1 << 14):
        part = moved[start : start + (1 << 14)]
        rows = part.reshape(-1, features.size).astype(np.float64)
        rows = ((rows - mean[0] - mean[1]) / scale) @ matrix if forward else (rows @ matrix) * scale + mean[1] + mean[0]
        target[start : start + (1 << 14)] = rows.reshape(part.shape)
