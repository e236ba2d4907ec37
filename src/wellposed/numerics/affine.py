"""(x - mean) / scale and back, in float64 inside and at the speed of memory."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

from wellposed.numerics.accumulate import canonical
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.floats import WIDE_INTEGER

_BUFFER = 1 << 15  # entries of float64 in flight
_HALF = (1 << 32) - 1
_LAID_OUT_COLUMNS_AFFINE = 512  # columns that few features are laid out to
_PART = 4 << 20  # entries that a thread takes at a time
_MUCH = 64 << 20  # bytes from which the compiled loop pays


def standardize(x: Array, axes: tuple[int, ...], mean: tuple[Vector, Vector], scale: Vector, out: Array) -> None:
    """out = (x - mean) / scale, for a mean in two parts; `axes` count the features. `out` may be x."""
    _applied(x, axes, mean, scale, out, forward=True)


def restore(x: Array, axes: tuple[int, ...], mean: tuple[Vector, Vector], scale: Vector, out: Array) -> None:
    """out = x * scale + mean."""
    _applied(x, axes, mean, scale, out, forward=False)


def _applied(
    x: Array, axes: tuple[int, ...], mean: tuple[Vector, Vector], scale: Vector, out: Array, *, forward: bool
) -> None:
    if np.may_share_memory(x, out) and (x.ctypes.data, x.strides) != (out.ctypes.data, out.strides):
        x = x.copy()  # they overlap without being one
    last = tuple(range(out.ndim - len(axes), out.ndim))
    source, target = canonical(x, axes), canonical(out, axes)
    if not np.may_share_memory(
        target, out
    ):  # no view of it has the features in one place: a copy has, and is written back
        moved = np.ascontiguousarray(np.moveaxis(x, axes, last))
        found = np.empty(moved.shape, out.dtype)
        _applied(moved, last, mean, scale, found, forward=forward)
        np.moveaxis(out, axes, last)[...] = found
        return
    a, d, b = source.shape
    numbers = [part[:, None] for part in (*mean, scale)]
    if b == 1 and d < _LAID_OUT_COLUMNS_AFFINE and source.flags.c_contiguous and target.flags.c_contiguous:
        copies = max(1, _LAID_OUT_COLUMNS_AFFINE // max(d, 1))
        whole = a // copies * copies
        tiled = [np.tile(part, (copies, 1)) for part in numbers]
        wide = [array[:whole].reshape(-1, copies * d, 1) for array in (source, target)]
        _in_parts(wide[0], wide[1], tiled, forward)
        source, target = source[whole:], target[whole:]
    _in_parts(source, target, numbers, forward)


def _in_parts(source: Array, target: Array, numbers: list[Any], forward: bool) -> None:
    a, d, b = source.shape
    step = max(1, _PART // max(d * b, 1))
    starts = range(0, a, step)
    much = source.nbytes >= _MUCH and b == 1

    def part(start: int) -> None:
        _one_part(source[start : start + step], target[start : start + step], numbers, forward, much)

    if len(starts) < 2:
        for start in starts:
            part(start)
        return
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        list(pool.map(part, starts))


def _one_part(source: Array, target: Array, numbers: list[Any], forward: bool, much: bool) -> None:
    high, low, scale = numbers
    kernel = _compiled() if much and source.dtype == target.dtype == np.float32 else None
    if kernel is not None:
        kernel(source[:, :, 0], target[:, :, 0], high[:, 0], low[:, 0], scale[:, 0], forward)
        return
    a, d, b = source.shape
    rows = max(1, _BUFFER // max(d * b, 1))
    buffer = np.empty((min(rows, max(a, 1)), d, b))
    exact = source.dtype.kind in "iu" and source.dtype.itemsize == WIDE_INTEGER
    fine = bool(low.any()) and (source.dtype == np.float64 or exact)
    for start in range(0, a, rows):
        block = source[start : start + rows]
        moved = buffer[: len(block)]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            if forward:
                if exact:
                    moved[...] = _difference(block, high)
                else:
                    np.subtract(block, high, out=moved)
                if fine:
                    np.subtract(moved, low, out=moved)
                np.divide(moved, scale, out=moved)
            else:
                np.multiply(block, scale, out=moved)
                np.add(moved, high, out=moved)
            target[start : start + rows] = moved


def _difference(block: Array, high: Any) -> Any:
    """Integers of 64 bits minus `high`, before they are rounded to float64: in two halves, which are exact."""
    whole = [int(number) for number in np.rint(high).ravel()]
    upper, lower = (
        np.array(part, dtype=np.float64).reshape(high.shape)
        for part in zip(*((w >> 32, w & _HALF) for w in whole), strict=True)
    )
    rest = high - np.rint(high)
    halves = (block >> block.dtype.type(32)).astype(np.float64), (block & block.dtype.type(_HALF)).astype(np.float64)
    return (halves[0] - upper) * 2.0**32 + ((halves[1] - lower) - rest)


@cache
def _compiled() -> Any:
    """The float32 loop as machine code; None without numba."""
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
    def by_numba(x, out, high, low, scale, forward):  # type: ignore[no-untyped-def]
        n, m = x.shape
        for i in range(n):
            if forward:
                for j in range(m):
                    out[i, j] = np.float32((np.float64(x[i, j]) - high[j]) / scale[j])
            else:
                for j in range(m):
                    out[i, j] = np.float32(np.float64(x[i, j]) * scale[j] + high[j])

    return by_numba
