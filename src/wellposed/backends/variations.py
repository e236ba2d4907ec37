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
        return np.full_like(values, _commonest(values)) if _may_repeat(values) else None
    if not moved:
        return None
    if variation == "zero rows":
        if values.ndim < 2 or len(values) < 2 or (values > 0).all() or (values < 0).all():
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
        return np.full_like(values, on) if _is_free(values) else None
    if is_whole(values):
        return None
    low = -np.inf if (values == -np.inf).any() else 0.0
    high = 0.0 if low else 1.0
    two = bool(((values == low) | (values == high)).all())
    return np.full_like(values, high if on else low) if two and _is_free(values == high) else None


def _is_free(mask: Array) -> bool:
    """Not one class for each, nor a triangle, which other code may take for granted."""
    if mask.ndim < 2:
        return True
    rows = mask.reshape(-1, *mask.shape[-2:])
    triangles = (np.tril(np.ones(mask.shape[-2:], bool)), np.triu(np.ones(mask.shape[-2:], bool)))
    one_each = bool((mask.sum(-1) == 1).all())
    return not one_each and not any((rows == one).all() or (rows == ~one).all() for one in triangles)


def _may_repeat(values: Array) -> bool:
    """Not an order, offsets, slots that are each filled once, or flags."""
    if not is_whole(values) or not values.ndim:
        return False
    flat = values.ravel()
    distinct = len(np.unique(flat))
    return bool(2 < distinct < flat.size and (np.diff(flat) < 0).any())


def _commonest(values: Array) -> int:
    """Less likely to be what marks the missing."""
    numbers, counts = np.unique(values, return_counts=True)
    return int(numbers[counts.argmax()])


def is_whole(values: Array) -> bool:
    return bool(np.issubdtype(values.dtype, np.integer))


def is_of_its_kind(cut: Array, whole: Array) -> bool:
    """Whether data of which a part was cut off are what they were: labels add up to one, no row of a mask that had
    something is empty.
    """
    if whole.ndim < 2 or not cut.size:
        return True
    (sums, rests), (some, still) = ((one.sum(-1) for one in (whole, cut)), ((one != 0).any(-1) for one in (whole, cut)))
    labels = np.allclose(sums, 1, rtol=1e-2)
    return bool((not labels or np.allclose(rests, 1, rtol=1e-2)) and (not some.all() or still.all()))


def about_size(numbers: Iterable[Array | int], size: int, to: int) -> bool:
    """Whether a whole number may be about an axis that is cut: a length, an offset, an index into it."""
    return any(bool(((np.asarray(one) >= to) & (np.asarray(one) <= size)).any()) for one in numbers)
