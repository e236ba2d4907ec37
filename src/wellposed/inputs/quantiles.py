"""Exact quantiles of data of any length: numbers are counted by their leading bits, and the bin of each quantile is
looked into again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from wellposed.numerics.arrays import Array, Vector

_BITS = 64  # of a float64, of which ranks are found digit by digit

_COUNTS_BYTES = 64 << 20  # bytes for the counts of one reading: they decide how many of a key's 64 bits it resolves
Chunks = Callable[[], Iterator[tuple[Array, Vector | None]]]

_SIGN = np.uint64(1 << 63)


def quantiles(chunks: Chunks, d: int, at: tuple[float, ...]) -> Vector:
    """[len(at), D], as `numpy.quantile` interpolates, NaN skipped (NaN where a feature has nothing else).

    Chunks of rows [n, D], each with weights [n] (how often a row counts) or None, are read five times; more often for
    many features.
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
    widest = max(4, min(16, int(np.log2(_COUNTS_BYTES / (8 * targets.size)))))
    known = 0
    while known < _BITS:
        bits = min(widest, _BITS - known)
        histogram = np.zeros((*targets.shape, 1 << bits))
        for rows, weights in chunks():
            for j in range(d):
                finite = np.isfinite(rows[:, j])
                keys, share = _keys(rows[finite, j]), None if weights is None else weights[finite]
                digits = ((keys >> np.uint64(64 - bits - known)) & np.uint64((1 << bits) - 1)).astype(np.int64)
                head = keys >> np.uint64(_BITS - known) if known else np.zeros_like(keys)
                for t in range(len(targets)):
                    here = head == prefix[t, j]
                    histogram[t, j] += np.bincount(
                        digits[here], None if share is None else share[here], minlength=1 << bits
                    )
        below = np.cumsum(histogram, axis=-1)
        digit = np.minimum((below <= left[..., None]).sum(axis=-1), (1 << bits) - 1)
        before = np.where(digit > 0, np.take_along_axis(below, np.maximum(digit - 1, 0)[..., None], axis=-1)[..., 0], 0)
        left = left - before
        prefix = (prefix << np.uint64(bits)) | digit.astype(np.uint64)
        known += bits
    return _numbers(prefix)


def _keys(values: Array) -> Array:
    """uint64 that sort as the finite numbers do."""
    bits = (values.astype(np.float64) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _numbers(keys: Array) -> Vector:
    return np.asarray(np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64))
