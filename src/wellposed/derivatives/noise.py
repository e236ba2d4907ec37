"""How noisy is a computed function? Hamming's difference table (Moré & Wild 2011, "ECnoise")."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, sqrt

import numpy as np

_POINTS = 7
_WIDEN = 64.0


def noise_level(f: Callable[[float], float], scale: float, eps: float) -> tuple[float, int]:
    """The standard deviation of f's rounding noise beside t = 0, and the evaluations it took.

    On a grid so fine that f itself is a straight line or a parabola, the k-th differences T of f
    for k >= 3 are noise alone: sigma^2 = (k!)^2 / (2k)! mean(T^2). `scale` is the length over which
    f changes, `eps` the precision of its values. The grid lies on one side of 0, so that a kink or a jump
    at 0 itself is not taken for noise. Where it is so fine that the values repeat, it is widened.
    Returns (nan, n) where f is not finite; (0, n) where f is constant.
    """
    spacing = scale * eps * 256
    evaluations = 0
    while spacing < 0.05 * scale:
        values = np.array([f(spacing * step) for step in range(1, _POINTS + 1)])
        evaluations += _POINTS
        if not np.isfinite(values).all():
            return np.nan, evaluations
        differences = np.diff(values)
        if np.count_nonzero(differences == 0) < _POINTS // 2:
            levels = []
            for k in range(2, _POINTS - 1):
                differences = np.diff(differences)
                if k >= 3:
                    gamma = factorial(k) ** 2 / factorial(2 * k)
                    levels.append(sqrt(gamma * float(np.mean(differences**2))))
            return max(levels), evaluations
        spacing *= _WIDEN
    return 0.0, evaluations
