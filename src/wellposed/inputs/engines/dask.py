"""Dask arrays and dataframes: one task per block or partition. A lost worker's tasks run again, to the same result."""

from __future__ import annotations

from typing import Any

from dask.base import compute
from dask.delayed import delayed

from wellposed.errors import InputError
from wellposed.inputs.features import feature_axes
from wellposed.inputs.sources.chunk import Chunk
from wellposed.inputs.sources.tables import choose_columns, table
from wellposed.inputs.state import State, merge


def state(data: Any, axis: Any, columns: tuple[str, ...], reproducible: bool) -> State:
    """Of a Dask array [N, ...], whose features are gathered into one block where they are split, or of a dataframe."""
    if hasattr(data, "to_delayed") and hasattr(data, "columns"):
        names = tuple(choose_columns(list(map(str, data.columns)), columns, "the dataframe"))
        parts = [delayed(_of_table)(part, names, reproducible) for part in data[list(names)].to_delayed()]
    elif hasattr(data, "rechunk"):
        axes = feature_axes(data.shape, axis)
        whole = data.rechunk(dict.fromkeys(axes, -1))
        blocks = whole.to_delayed().ravel()
        parts = [delayed(_of_block)(block, axes or None, reproducible) for block in blocks]
    else:
        raise InputError(f"a Dask {type(data).__name__} cannot be read", hint="give a Dask array or dataframe")
    return merge(compute(*parts))  # type: ignore[no-untyped-call]


def _of_block(block: Any, axes: Any, reproducible: bool) -> State | None:
    return State.of(block, axes, reproducible=reproducible) if len(block) else None


def _of_table(part: Any, names: tuple[str, ...], reproducible: bool) -> State | None:
    source = table(part, names)
    assert source is not None
    states = [_named(chunk, reproducible) for chunk in source.chunks()]
    return merge(states) if states else None


def _named(chunk: Chunk, reproducible: bool) -> State:
    found = State.of(chunk.rows, 1, reproducible=reproducible)
    return State(found.moments, found.fingerprint, chunk.names)
