"""Other values for an input of a function, of the same kind. They do not leave the domain that the values show: what
has one sign keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wellposed.backends.ways import Variation
from wellposed.numerics.arrays import Array

_OFF_ZERO = 2.0**-12  # of the root mean square: near enough for what is smooth to be the same
_STEPS, _STRIDE = 127, 37  # of 1/128, which bfloat16 has
_LARGE, _SMALL = 100.0, 1e-6  # factors: exp overflows, squares vanish


def varied(values: Array, variation: Variation, *, moved: bool) -> Array | None:
    """None where the variation does not concern them. `moved`: whether they are differentiated by."""
    if not values.size:
        return None
    if variation in ("masked", "unmasked"):
        return None if moved else _with_mask(values, on=variation == "unmasked")
    if variation == "repeated":
        return np.full_like(values, _commonest(values)) if is_whole(values) and values.ndim else None
    if not moved:
        return None
    if variation == "zero rows":
        if values.ndim < 2 or len(values) < 2:
            return None
        made = values.copy()
        made[::2] = 0
        return made
    if variation in ("large", "small") and (values < 0).any() and (values > 0).any():
        return values * (_LARGE if variation == "large" else _SMALL)
    return None


def off_zero(values: Array, point: int, place: int) -> Array:
    """With its zeros moved to either side at random, by little, those near one another by different steps: to see what
    a kink there does.
    """
    draw = np.random.default_rng((point, place))
    size = float(np.sqrt(np.mean(values**2))) if values.size else 0.0
    least = 2.0 ** np.round(np.log2(_OFF_ZERO * (size or 1.0)))
    steps = (_STRIDE * np.arange(values.size) + int(draw.integers(_STEPS))) % _STEPS
    moved = least * (1 + steps.reshape(values.shape) / 128) * draw.choice((-1, 1), values.shape)
    return np.where(values == 0, moved, values)


def _with_mask(values: Array, *, on: bool) -> Array | None:
    """Of True and False, of 1 and 0, or of 0 and -inf to be added."""
    if values.dtype == bool:
        return np.full_like(values, on)
    if is_whole(values):
        return None
    low = -np.inf if (values == -np.inf).any() else 0.0
    high = 0.0 if low else 1.0
    return np.full_like(values, high if on else low) if ((values == low) | (values == high)).all() else None


def _commonest(values: Array) -> int:
    """Less likely to be what marks the missing."""
    numbers, counts = np.unique(values, return_counts=True)
    return int(numbers[counts.argmax()])


def is_whole(values: Array) -> bool:
    return bool(np.issubdtype(values.dtype, np.integer))


def about_size(numbers: Iterable[Array | int], size: int, to: int) -> bool:
    """Whether a whole number may be about an axis that is cut: a length, an offset, an index into it."""
    return any(bool(((np.asarray(one) >= to) & (np.asarray(one) <= size)).any()) for one in numbers)
