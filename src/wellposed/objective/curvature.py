"""The largest eigenvalue of the Hessian: gradient descent with a rate above two over it overshoots (LeCun et al.
1998).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.numerics.theta import Theta, norm, plus

_STEPS, _POWER_ITERATION_PRECISION, _MOVED = 12, 0.02, 1e-3


def sharpness(gradient: Callable[[Theta], Theta], theta: Theta) -> float:
    """By power iteration on H v = (g(theta + h v) - g(theta)) / h; in size, from below. NaN where a gradient is not
    finite.

    At most 13 gradients. h moves theta by a thousandth of its size.
    """
    here = gradient(theta)
    h = _MOVED * (norm(theta) or 1.0)
    v, length, found = here, norm(here), float("nan")
    if not length:
        return found
    for _ in range(_STEPS):
        product = plus(gradient(plus(theta, v, h / length)), here, -1.0)
        length = norm(product)
        size = length / h
        if not np.isfinite(size) or size == 0:
            return float("nan") if not np.isfinite(size) else 0.0
        if abs(size - found) < _POWER_ITERATION_PRECISION * size:
            return size
        found, v = size, product
    return found
