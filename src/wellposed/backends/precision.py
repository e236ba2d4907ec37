"""Whether a float64 copy of a problem is the same problem."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, isnan

_SAME = 0.05  # relative: a copy whose loss differs by more is another function
_ROUNDED = 1e-4  # of the loss's usual size: terms that cancel leave their rounding in float32, however small the rest


def same_loss(mine: float, its: float, moved: Callable[[], float]) -> bool:
    """Whether a loss and that of its float64 copy are one. `moved` is the loss where the parameters have moved by their own size: a loss
    that is small against it, as the terms of it cancel here, may be its rounding and no more.
    """
    if isnan(mine) or isnan(its):
        return isnan(mine) and isnan(its)
    if abs(mine - its) <= _SAME * abs(mine):
        return True
    size = abs(moved())
    return isfinite(size) and abs(mine - its) <= _ROUNDED * size
