"""Tables: pandas, polars (eager and lazy), pyarrow, duckdb, and whatever else narwhals reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import narwhals as nw
import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.columns import columns_of
from wellposed.inputs.sources.chunk import BYTES, Chunk, Source, numeric
from wellposed.printable import listed

_COLUMNS_NAMED = 8


def table(data: Any, columns: Sequence[str] = ()) -> Source | None:
    """A table's rows; None where this is no table."""
    columns_there = columns_of(data) if type(data).__module__.startswith("pandas") else []
    twice = next((name for name, number in Counter(columns_there).items() if number > 1), None)
    if twice is not None:
        raise InputError(f"the table has two columns named {twice!r}", hint="rename one of them")
    frame = nw.from_native(data, pass_through=True, eager_only=False, allow_series=False)
    if isinstance(frame, nw.DataFrame):
        return Source(
            "the table", lambda: pieces(frame, columns), len(frame), at=lambda indices: pieces(frame[indices], columns)
        )
    if isinstance(frame, nw.LazyFrame):
        return Source("the table", lambda: _lazy(frame, columns))
    return None


def pieces(frame: nw.DataFrame[Any], columns: Sequence[str], where: str = "") -> Iterator[Chunk]:
    """Chunks of an eager frame, its columns in the order given, else in its own."""
    there = frame.columns  # made anew at every look
    names = choose_columns(there, columns, where or "the table")
    position = {name: place for place, name in reversed(list(enumerate(there)))}
    places = [position[name] for name in names] if columns else list(range(len(names)))
    shown = tuple(names) if all(isinstance(name, str) for name in names) else ()
    step = max(1, BYTES // (8 * max(1, len(names))))
    for start in range(0, max(len(frame), 1), step):
        part = frame[start : start + step]
        series = list(part.iter_columns())
        arrays = [_column(series[j], str(there[j]), where) for j in places]
        if len(part):
            dtype = np.result_type(*arrays)
            rows = np.empty((len(part), len(names)), dtype=dtype)
            for j, array in enumerate(arrays):
                rows[:, j] = array
            yield Chunk(rows, f"{where}{' ' if where else ''}rows {start} to {start + len(part) - 1}", shown)


def _column(series: nw.Series[Any], name: str, where: str) -> Any:
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        if series.dtype.is_decimal() or series.null_count():
            series = series.cast(nw.Float64)  # a missing value is NaN
        array = series.to_numpy()
        return array.astype(np.float64) if array.dtype.kind == "O" else array
    if series.dtype == nw.Unknown or series.dtype == nw.Object:
        array = series.to_numpy()
        try:  # numbers and None among Python objects
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            array = np.empty(0, dtype=object)
        return numeric(array, name, where)
    return numeric(np.empty(0, dtype="M8[ns]" if series.dtype.is_temporal() else object), name, where)


def _lazy(frame: nw.LazyFrame[Any], columns: Sequence[str]) -> Iterator[Chunk]:
    names = choose_columns(frame.collect_schema().names(), columns, "the table")
    native = frame.select(names).to_native()
    if hasattr(native, "collect_batches"):  # polars
        batches: Any = native.collect_batches(chunk_size=max(1, BYTES // (8 * len(names))))
    elif hasattr(native, "to_arrow_reader"):  # duckdb
        import pyarrow as pa

        batches = (
            pa.Table.from_batches([batch]) for batch in native.to_arrow_reader(max(1, BYTES // (8 * len(names))))
        )
    else:
        batches = [frame.select(names).collect().to_native()]
    for number, batch in enumerate(batches):
        yield from pieces(nw.from_native(batch, eager_only=True), names, f"batch {number}")


def choose_columns(available: Sequence[str], columns: Sequence[str], what: str) -> list[str]:
    """The columns asked for, all where none is; raises `InputError` for one that is not there."""
    there = set(available)
    for name in columns:
        if name not in there:
            raise InputError(
                f"{what} has no column {name!r}", hint=f"it has {listed(list(map(repr, available)), _COLUMNS_NAMED)}"
            )
    if not available:
        raise InputError(f"{what} has no columns")
    return list(columns or available)
