"""The largest eigenvalue of the Hessian: gradient descent with a rate above two over it overshoots (LeCun et al.
1998).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.numerics.arrays import Vector

_STEPS, _POWER_ITERATION_PRECISION, _MOVED = 12, 0.02, 1e-3


def sharpness(gradient: Callable[[Vector], Vector], theta: Vector) -> float:
    """By power iteration on H v = (g(theta + h v) - g(theta)) / h; in size, from below. NaN where a gradient is not
    finite.

    At most 13 gradients. h moves theta by a thousandth of its size.
    """
    here = gradient(theta)
    h = _MOVED * (float(np.linalg.norm(theta)) or 1.0)
    v = here if here.any() else np.ones_like(theta)
    found = float("nan")
    for _ in range(_STEPS):
        v = v / np.linalg.norm(v)
        product = (gradient(theta + h * v) - here) / h
        size = float(np.linalg.norm(product))
        if not np.isfinite(size) or size == 0:
            return float("nan") if not np.isfinite(size) else 0.0
        if abs(size - found) < _POWER_ITERATION_PRECISION * size:
            return size
        found, v = size, product
    return found
