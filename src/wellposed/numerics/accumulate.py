"""From an array to the moments of its features: which axes are features, blocks that fit into the cache, threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from wellposed.numerics import exact, kernels, shifted
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.exact import Exact
from wellposed.numerics.floats import WIDE_INTEGER
from wellposed.numerics.shifted import Shifted

_BLOCK = 16 << 20  # bytes of a block; the blocks, and so the result, do not depend on the number of threads
_LAID_OUT_COLUMNS = 256  # columns that few features are laid out to, so that the inner loop is long
_SMALL = 1 << 15  # entries: below, two careful passes cost less than a quick one and its doubts
_MOST_COLUMNS = 1 << 14
_PILOT = 16
_CENTRED = 8.0  # squared offset over variance up to which one pass about a shift keeps its digits
_HUGE, _TINY = 1e270, 1e-270


class Pieces(NamedTuple):
    """What `Moments` holds: `spread`, and per feature the number of NaN, of infinities, the smallest and largest finite
    number.
    """

    spread: Shifted | Exact
    nan_count: Vector
    inf_count: Vector
    min: Vector
    max: Vector


class _How(NamedTuple):
    reproducible: bool = False
    weights: Vector | None = None
    much: bool = False


def pieces(array: Array, axes: tuple[int, ...], weights: Vector | None, reproducible: bool) -> Iterator[Pieces]:
    """Of each block of an array, in order; `axes` are those of the features, weights belong to entries of axis 0."""
    rows = canonical(array, axes)
    per_row = max(1, rows.nbytes // max(1, rows.shape[0]))
    step = max(1, _BLOCK // per_row)
    if weights is not None:
        weights = np.repeat(weights, rows.shape[0] // max(len(weights), 1))

    much = rows.nbytes >= kernels.MUCH

    def block(start: int) -> Pieces:
        share = None if weights is None else weights[start : start + step]
        return _of_block(rows[start : start + step], _How(reproducible, share, much))

    starts = range(0, max(rows.shape[0], 1), step)
    yield from _in_order(block, starts, min(len(starts), _workers()))


def _workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(work: Callable[[int], Pieces], starts: range, workers: int) -> Iterator[Pieces]:
    if workers < 2:
        yield from map(work, starts)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, starts)


def canonical(array: Array, axes: tuple[int, ...]) -> Array:
    """[A, D, B]: examples, features, and examples again (the pixels of channels-first images, say); a view wherever it
    can be.
    """
    shape, n = array.shape, array.ndim
    if not axes:
        return array.reshape(-1, 1, 1)
    first, last = min(axes), max(axes)
    if axes != tuple(range(first, last + 1)):
        array = np.moveaxis(array, axes, range(n - len(axes), n))
        return array.reshape(-1, int(np.prod(array.shape[n - len(axes) :])), 1)
    before, d, behind = (int(np.prod(part)) for part in (shape[:first], shape[first : last + 1], shape[last + 1 :]))
    return array.reshape(before, d, behind)


def _of_block(rows: Array, how: _How) -> Pieces:
    a, d, b = rows.shape
    if how.weights is not None or rows.size < _SMALL or not a:
        columns = np.moveaxis(rows, 1, 2).reshape(a * b, d)
        repeated = None if how.weights is None else np.repeat(how.weights, b)
        return _careful(columns, how._replace(weights=repeated))
    if b > 1 and d * b <= _MOST_COLUMNS:
        return _folded(_of_columns(rows.reshape(a, d * b), how), b, major=True)
    if b > 1:
        return _beside([_of_block(rows[:, j, :].reshape(a * b, 1, 1), how) for j in range(d)])
    columns = rows.reshape(a, d)
    copies = max(1, _LAID_OUT_COLUMNS // d)
    whole = a // copies * copies
    found = _folded(_of_columns(columns[:whole].reshape(a // copies, copies * d), how), copies, major=False)
    return found if whole == a else join(found, _careful(columns[whole:], how))


def _of_columns(x: Array, how: _How) -> Pieces:
    """Of each column of a block [n, m], quickly where that loses no digits."""
    kind, m = x.dtype.kind, x.shape[1]
    if kind in "iub" and x.dtype.itemsize <= 2:
        s1, s2, low, high = kernels.byte_sums(x.view(np.uint8) if kind == "b" else x, much=how.much)
        none = np.zeros(m)
        return Pieces(exact.of_sums(np.full(m, float(len(x))), s1, s2), none, none, low * 1.0, high * 1.0)
    if kind in "iub" or how.reproducible:
        return _careful(x, how)
    with np.errstate(all="ignore"):
        shift = x[np.linspace(0, len(x) - 1, _PILOT).astype(int)].mean(axis=0, dtype=np.float64)
    s, q, low, high = kernels.sums(x, shift, much=how.much)
    n = float(len(x))
    with np.errstate(all="ignore"):
        offset = s / n
        m2 = q - s * offset
        one = low == high
        good = np.isfinite(s) & np.isfinite(q) & ((offset * s <= _CENTRED * m2) & (q < _HUGE) & (m2 > _TINY) | one)
    zero = np.zeros(m)
    unit = np.where(one, shifted.unit_of(np.abs(low.astype(np.float64))), 0)
    start = np.where(one, np.ldexp(low.astype(np.float64), -unit), shift)
    state = Shifted(np.full(m, n), start, np.where(one, 0.0, offset), np.where(one, 0.0, m2), zero, unit)
    found = Pieces(state, zero, zero, low.astype(np.float64), high.astype(np.float64))
    return found if good.all() else _replaced(found, ~good, _careful(x[:, ~good], how))


def _careful(x: Array, how: _How) -> Pieces:
    """By two passes over [n, m], or by sums of integers; NaN and infinity are left out."""
    if x.dtype.kind in "iub":
        keep = np.ones(x.shape, dtype=bool)
        nan_count = inf_count = np.zeros(x.shape[1])
    else:
        nan, infinite = np.isnan(x), np.isinf(x)
        keep = ~(nan | infinite)
        nan_count, inf_count = nan.sum(axis=0) * 1.0, infinite.sum(axis=0) * 1.0
    weights = how.weights
    if weights is not None:
        keep = keep & (weights > 0)[:, None]
    seen = keep.any(axis=0)
    low = np.where(seen, np.where(keep, x, np.inf).min(axis=0, initial=np.inf), np.nan)
    high = np.where(seen, np.where(keep, x, -np.inf).max(axis=0, initial=-np.inf), np.nan)
    if weights is None and (how.reproducible or x.dtype.kind in "iub"):
        return Pieces(exact.of_columns(x, keep), nan_count, inf_count, low, high)
    if x.dtype.kind in "iu" and x.dtype.itemsize == WIDE_INTEGER:
        return Pieces(_of_wide_integers(x, keep, weights), nan_count, inf_count, low, high)
    values = np.where(keep, x.astype(np.float64), 0.0)
    return Pieces(shifted.of_columns(values, keep, weights), nan_count, inf_count, low, high)


def _of_wide_integers(x: Array, keep: Array, weights: Vector | None) -> Shifted:
    """Weighted integers of 64 bits, about the first of each column: differences are taken before they are rounded."""
    first = x[0]
    upper = (x >> x.dtype.type(32)).astype(np.float64) - (first >> x.dtype.type(32)).astype(np.float64)
    lower = (x & x.dtype.type(0xFFFFFFFF)).astype(np.float64) - (first & x.dtype.type(0xFFFFFFFF)).astype(np.float64)
    found = shifted.of_columns(np.where(keep, upper * 2.0**32 + lower, 0.0), keep, weights)
    about = Shifted(found.count, first.astype(np.float64), found.shift + found.offset, found.m2, found.rest, found.unit)
    return (
        about if not found.unit.any() else shifted.of_columns(np.where(keep, x.astype(np.float64), 0.0), keep, weights)
    )


def _replaced(found: Pieces, where: Array, better: Pieces) -> Pieces:
    assert isinstance(found.spread, Shifted)
    assert isinstance(better.spread, Shifted)
    fields = {name: part.copy() for name, part in found.spread.parts().items()}
    for name, part in better.spread.parts().items():
        fields[name][where] = part
    others = []
    for one, two in zip(found[1:], better[1:], strict=True):
        both = one.copy()
        both[where] = two
        others.append(both)
    return Pieces(Shifted(**fields), *others)


def _beside(features: list[Pieces]) -> Pieces:
    """Of single features, those of all."""
    exact_ones = [piece.spread for piece in features if isinstance(piece.spread, Exact)]
    others = [piece.spread for piece in features if isinstance(piece.spread, Shifted)]
    spread: Shifted | Exact = exact.beside(exact_ones) if exact_ones else shifted.beside(others)
    return Pieces(spread, *(np.concatenate([piece[k] for piece in features]) for k in range(1, 5)))


def join(one: Pieces, two: Pieces) -> Pieces:
    """Both together."""
    return Pieces(
        together(one.spread, two.spread),
        one.nan_count + two.nan_count,
        one.inf_count + two.inf_count,
        np.fmin(one.min, two.min),
        np.fmax(one.max, two.max),
    )


def together(one: Shifted | Exact, two: Shifted | Exact) -> Shifted | Exact:
    if isinstance(one, Exact) and isinstance(two, Exact):
        return one + two
    return as_shifted(one) + as_shifted(two)


def as_shifted(state: Shifted | Exact) -> Shifted:
    """An exact state, rounded."""
    if isinstance(state, Shifted):
        return state
    high, low = state.mean()
    seen = state.count > 0
    std = np.where(seen, state.std(0), 0.0)
    unit = np.where(seen, shifted.unit_of(np.maximum(np.abs(high), std)), 0)
    shift, offset = (np.where(seen, np.ldexp(part, -unit), 0.0) for part in (high, low))
    return Shifted(state.count, shift, offset, state.count * np.ldexp(std, -unit) ** 2, np.zeros_like(offset), unit)


def _folded(found: Pieces, copies: int, *, major: bool) -> Pieces:
    """D features of which `copies` columns each were kept apart."""
    if copies == 1:
        return found
    shape, axis = ((-1, copies), 1) if major else ((copies, -1), 0)

    def summed(values: Array) -> Array:
        return np.asarray(values.reshape(shape).sum(axis=axis))

    if isinstance(found.spread, Exact):
        spread: Shifted | Exact = Exact(
            summed(found.spread.count), summed(found.spread.s1), summed(found.spread.s2), found.spread.exponent
        )
    else:
        spread = shifted.fold(found.spread, copies, major=major)
    low = np.fmin.reduce(found.min.reshape(shape), axis=axis)
    high = np.fmax.reduce(found.max.reshape(shape), axis=axis)
    return Pieces(spread, summed(found.nan_count), summed(found.inf_count), low, high)
