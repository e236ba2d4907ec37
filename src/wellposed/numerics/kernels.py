"""One pass over a block of rows: sums about a shift, extremes. With numba where it is installed, else with NumPy and
BLAS.

A kernel takes x [n, m] of any real dtype and shift [m], and returns s = sum(x - shift) and q = sum((x - shift)^2) in
float64, and the smallest and largest x per column. NaN and infinity make s or q not finite: then, and only then,
nothing it returns is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from wellposed.numerics.arrays import Array, Vector

Kernel = Callable[[Array, Vector], tuple[Vector, Vector, Array, Array]]

MUCH = 64 << 20
"""Bytes of an array from which it pays to load the compiled kernels."""
_BUFFER = 1 << 16  # float64 entries in flight: what a core's own cache holds
_ABREAST = 4  # rows read abreast: of more the processor's look ahead in memory falls behind
_GROUP = 256  # rows summed before they are added to the total: rounding grows with the root of both


def sums(x: Array, shift: Vector, *, much: bool) -> tuple[Vector, Vector, Array, Array]:
    """By machine code where there is `much` to sum, for it takes a second to load; the choice does not depend on what
    was done before.
    """
    kernel = compile_kernel() if much and x.dtype.kind == "f" else None
    return (kernel or by_blas)(x, shift)


def by_blas(x: Array, shift: Vector) -> tuple[Vector, Vector, Array, Array]:
    n, m = x.shape
    rows = max(1, min(n, _BUFFER // max(m, 1)))
    s, q = np.zeros(m), np.zeros(m)
    low, high = x[0].copy(), x[0].copy()
    buffer, ones = np.empty((rows, m)), np.ones(rows)
    with np.errstate(all="ignore"):
        for start in range(0, n, rows):
            block = x[start : start + rows]
            moved = buffer[: len(block)]
            moved[...] = block  # in two steps: NumPy is slower where it converts while it computes
            moved -= shift
            s += ones[: len(block)] @ moved
            np.multiply(moved, moved, out=moved)
            q += ones[: len(block)] @ moved
            np.minimum(low, block.min(axis=0), out=low)
            np.maximum(high, block.max(axis=0), out=high)
    return s, q, low, high


@cache
def compile_kernel() -> Kernel | None:
    """The kernel as machine code; None without numba."""
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
    def by_numba(x, shift):  # type: ignore[no-untyped-def]
        n, m = x.shape
        total, squares = np.zeros(m), np.zeros(m)
        s, q = np.zeros(m), np.zeros(m)
        low, high = x[0].copy(), x[0].copy()
        for start in range(0, n, _GROUP):
            end = min(start + _GROUP, n)
            whole = start + (end - start) // _ABREAST * _ABREAST
            for i in range(start, whole, _ABREAST):
                for j in range(m):
                    c, a, b = shift[j], 0.0, 0.0
                    least, most = low[j], high[j]
                    for r in range(_ABREAST):
                        value = x[i + r, j]
                        moved = np.float64(value) - c
                        a += moved
                        b += moved * moved
                        least = value if value < least else least
                        most = value if value > most else most
                    s[j] += a
                    q[j] += b
                    low[j], high[j] = least, most
            for i in range(whole, end):
                for j in range(m):
                    value = x[i, j]
                    moved = np.float64(value) - shift[j]
                    s[j] += moved
                    q[j] += moved * moved
                    low[j] = value if value < low[j] else low[j]
                    high[j] = value if value > high[j] else high[j]
            for j in range(m):
                total[j] += s[j]
                squares[j] += q[j]
                s[j] = 0.0
                q[j] = 0.0
        return total, squares, low, high

    return by_numba


def byte_sums(x: Array, *, much: bool) -> tuple[Array, Array, Array, Array]:
    """Of integers of 8 or 16 bits [n, m]: sums and sums of squares, exact in int64, and extremes."""
    kernel = _byte_kernel() if much and x.dtype == np.uint8 else None
    return (kernel or _bytes_by_blas)(x)


def _bytes_by_blas(x: Array) -> tuple[Array, Array, Array, Array]:
    n, m = x.shape
    # All partial sums are integers below 2^24 in float32, or 2^53 in float64: exact in any order.
    small = x.dtype.itemsize == 1
    rows = max(1, min(n, 256 if small else 1 << 16, max(2 * _BUFFER // max(m, 1), 16)))
    dtype = np.float32 if small else np.float64
    s, q = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    low, high = x[0].copy(), x[0].copy()
    buffer, ones = np.empty((rows, m), dtype=dtype), np.ones(rows, dtype=dtype)
    for start in range(0, n, rows):
        block = x[start : start + rows]
        wide = buffer[: len(block)]
        wide[...] = block
        s += (ones[: len(block)] @ wide).astype(np.int64)
        np.multiply(wide, wide, out=wide)
        q += (ones[: len(block)] @ wide).astype(np.int64)
        np.minimum(low, block.min(axis=0), out=low)
        np.maximum(high, block.max(axis=0), out=high)
    return s, q, low, high


@cache
def _byte_kernel() -> Callable[[Array], tuple[Array, Array, Array, Array]] | None:
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def by_numba(x):  # type: ignore[no-untyped-def]
        n, m = x.shape
        s, q = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
        a, b = np.zeros(m, dtype=np.uint32), np.zeros(m, dtype=np.uint32)
        low, high = x[0].copy(), x[0].copy()
        for start in range(0, n, _GROUP):
            for i in range(start, min(start + _GROUP, n)):
                for j in range(m):
                    value = x[i, j]
                    wide = np.uint32(value)
                    a[j] += wide
                    b[j] += wide * wide
                    low[j] = min(low[j], value)
                    high[j] = max(high[j], value)
            for j in range(m):
                s[j] += a[j]
                q[j] += b[j]
                a[j] = 0
                b[j] = 0
        return s, q, low, high

    return by_numba


@cache
def compile_row_sums() -> Callable[[Array, Array], Array] | None:
    """Machine code for sum(mixed(x[i, k]) * factors[k]) over k, modulo 2^64, where mixed are the bits of a float64
    xored with their upper half; None without numba.
    """
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
    def by_numba(x, factors):  # type: ignore[no-untyped-def]
        n, m = x.shape
        total = np.empty(n, dtype=np.uint64)
        for i in range(n):
            one = np.uint64(0)
            for k in range(m):
                bits = np.float64(np.float64(x[i, k]) + 0.0).view(np.uint64)  # + 0.0: -0 is 0
                one += (bits ^ (bits >> np.uint64(32))) * factors[k]
            total[i] = one
        return total

    return by_numba
