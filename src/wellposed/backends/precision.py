"""Whether a float64 copy of a problem is the same problem."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, isnan

import numpy as np

from wellposed.numerics.theta import Gradient

_SAME_HERE = 0.05  # relative: a copy whose loss differs by more is another function
_ROUNDED = 1e-4  # of the loss's usual size: terms that cancel leave their rounding in float32, however small the rest
_SAME_ELSEWHERE = 1e-3  # relative, at another point, where nothing cancels


def same_loss(mine: float, its: float, elsewhere: Callable[[float], tuple[float, float]]) -> bool:
    """Whether a loss and that of its float64 copy are one. `elsewhere(least)` gives both where the parameters have
    moved by their own size, and by `least` at least: a loss that is small against it there, as its terms cancel here,
    may be its rounding and no more.
    """
    if isnan(mine) or isnan(its):
        return isnan(mine) and isnan(its)
    return abs(mine - its) <= _SAME_HERE * abs(mine) or any(
        _same_there(mine, its, *elsewhere(least)) for least in (0.0, 1.0)
    )


def same_gradient(mine: Gradient, its: Gradient) -> bool:
    """Whether two gradients are one but for the rounding of the coarser."""
    pairs = [(mine[name], part) for name, part in its.items()]
    if any((one is None) != (other is None) for one, other in pairs):
        return False
    apart = sum(float(np.sum((one - other) ** 2)) for one, other in pairs if one is not None and other is not None)
    size = sum(float(np.sum(other**2)) for _, other in pairs if other is not None)
    return 0 < size < inf and apart <= _SAME_ELSEWHERE**2 * size


def _same_there(mine: float, its: float, my_size: float, its_size: float) -> bool:
    if not (isfinite(my_size) and isfinite(its_size)):
        return False
    return abs(mine - its) <= _ROUNDED * abs(my_size) or (
        my_size != 0 and abs(my_size - its_size) <= _SAME_ELSEWHERE * abs(my_size)
    )
