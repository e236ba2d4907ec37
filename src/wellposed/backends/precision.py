"""Whether a float64 copy of a problem is the same problem."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, isnan

_SAME = 0.05  # relative: a copy whose loss differs by more is another function
_ROUNDED = 1e-4  # of the loss's usual size: terms that cancel leave their rounding in float32, however small the rest
_ALIKE = 1e-3  # relative, at another point, where nothing cancels


def same_loss(mine: float, its: float, elsewhere: Callable[[float], tuple[float, float]]) -> bool:
    """Whether a loss and that of its float64 copy are one. `elsewhere(least)` gives both where the parameters have moved by their own size,
    and by `least` at least: a loss that is small against it there, as its terms cancel here, may be its rounding and no more.
    """
    if isnan(mine) or isnan(its):
        return isnan(mine) and isnan(its)
    return abs(mine - its) <= _SAME * abs(mine) or any(_same_there(mine, its, *elsewhere(least)) for least in (0.0, 1.0))


def _same_there(mine: float, its: float, my_size: float, its_size: float) -> bool:
    if not (isfinite(my_size) and isfinite(its_size)):
        return False
    return abs(mine - its) <= _ROUNDED * abs(my_size) or (my_size != 0 and abs(my_size - its_size) <= _ALIKE * abs(my_size))
