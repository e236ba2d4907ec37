"""Exact quantiles of data of any length: numbers are counted by their leading bits, and the bin of each quantile is looked into again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wellposed.numerics.arrays import Array, Vector

_BITS = 16  # of a key that one reading resolves: four readings for the 64 of a float64
Chunks = Callable[[], Iterator[tuple[Array, Vector | None]]]

_SIGN = np.uint64(1 << 63)


def quantiles(chunks: Chunks, d: int, at: tuple[float, ...]) -> Vector:
    """[len(at), D], as `numpy.quantile` interpolates, NaN skipped (NaN where a feature has nothing else).

    Chunks of rows [n, D], each with weights [n] (how often a row counts) or None, are read four times.
    """
    counts = np.zeros(d)
    for rows, weights in chunks():
        counts += np.isfinite(rows).sum(axis=0) if weights is None else weights @ np.isfinite(rows)
    # Each quantile lies between two order statistics.
    place = np.array(at)[:, None] * np.maximum(counts - 1, 0)
    low = np.floor(place)
    targets = np.concatenate([low, np.minimum(low + 1, np.maximum(counts - 1, 0))])
    found = _order_statistics(chunks, d, targets)
    lower, upper = found[: len(at)], found[len(at) :]
    share = place - low
    return np.where(counts > 0, lower * (1 - share) + upper * share, np.nan)


def _order_statistics(chunks: Chunks, d: int, targets: Vector) -> Vector:
    """The numbers at these ranks [T, D] of each feature."""
    prefix = np.zeros(targets.shape, dtype=np.uint64)
    left = targets.copy()
    for known in range(0, 64, _BITS):
        histogram = np.zeros((*targets.shape, 1 << _BITS))
        for rows, weights in chunks():
            for j in range(d):
                finite = np.isfinite(rows[:, j])
                keys, share = _keys(rows[finite, j]), None if weights is None else weights[finite]
                digits = ((keys >> np.uint64(64 - _BITS - known)) & np.uint64((1 << _BITS) - 1)).astype(np.int64)
                head = keys >> np.uint64(64 - known) if known else np.zeros_like(keys)
                for t in range(len(targets)):
                    here = head == prefix[t, j]
                    histogram[t, j] += np.bincount(digits[here], None if share is None else share[here], minlength=1 << _BITS)
        below = np.cumsum(histogram, axis=-1)
        digit = np.minimum((below <= left[..., None]).sum(axis=-1), (1 << _BITS) - 1)
        before = np.where(digit > 0, np.take_along_axis(below, np.maximum(digit - 1, 0)[..., None], axis=-1)[..., 0], 0)
        left = left - before
        prefix = (prefix << np.uint64(_BITS)) | digit.astype(np.uint64)
    return _numbers(prefix)


def _keys(values: Array) -> Array:
    """uint64 that sort as the finite numbers do."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _numbers(keys: Array) -> Vector:
    return np.asarray(np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64))
