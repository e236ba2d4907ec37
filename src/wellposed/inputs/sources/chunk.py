"""What every source gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Array

BYTES = 16 << 20  # of a chunk


class Chunk(NamedTuple):
    """Some rows [n, ...], a table's with the names of its columns; `where` says to a person which."""

    rows: Any
    where: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """`chunks()` begins anew at every call where `again`; `total` rows, where that is known; `what` the data is called
    in messages; `at(indices)` gives these rows, where they can be had at will."""

    what: str
    chunks: Callable[[], Iterator[Chunk]]
    total: int | None = None
    again: bool = True
    at: Callable[[Array], Iterator[Chunk]] | None = None


def rows_per_chunk(shape: tuple[int, ...], itemsize: int) -> int:
    """How many entries of axis 0 make a chunk."""
    return max(1, BYTES // max(1, itemsize * int(np.prod(shape[1:], dtype=np.int64))))


def slice_rows(array: Any, where: str = "") -> Iterator[Chunk]:
    """An array that can be sliced along axis 0, piece by piece."""
    shape = tuple(array.shape)
    step = rows_per_chunk(shape, np.dtype(array.dtype).itemsize)
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        yield Chunk(np.asarray(array[start:stop]), f"{where}rows {start} to {stop - 1}")


def numeric(array: Array, name: str, where: str) -> Array:
    """One column, if it holds numbers; raises `InputError` naming it otherwise."""
    if array.dtype.kind not in "fiub":
        kind = "text" if array.dtype.kind in "OUST" else str(array.dtype)
        raise InputError(
            f"column {name!r}{f' of {where}' if where else ''} holds {kind}, not numbers",
            hint="encode it as numbers, or choose columns: columns=[...], --columns a,b",
        )
    return array
