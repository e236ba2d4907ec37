"""From any data to a `State`: chunk by chunk, with every chunk held against the first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.inputs.engines import engine_of
from wellposed.inputs.features import feature_axes
from wellposed.inputs.sources import Chunk, Source, source_of
from wellposed.inputs.state import State, merge
from wellposed.printable import harmless, listed

ONE_DIMENSION = (
    "Expected an array of at least 2 dimensions, got 1. Reshape your data: x[:, None] is one feature, x[None, :] one"
    " row of features"
)


def state_of(
    data: Any,
    axis: int | tuple[int, ...] | None = None,
    *,
    columns: Sequence[str] = (),
    key: Any = None,
    weights: Any = None,
    reproducible: bool = False,
    progress: bool = True,
    refuse_infinite: bool = False,
) -> State:
    """What all the rows of `data` amount to; it may be anything that `source_of` or an engine reads.

    `axis` as in `features_of`, of an array or of each batch; `columns` of a table; `key` the entry of a batch or of a
    file; `weights` [N], for data in memory. Raises `InputError` for what cannot be read, naming file, column or batch.
    """
    engine = engine_of(data)
    if engine is not None:
        return engine(data, axis, tuple(columns), reproducible)
    source = source_of(data, columns, key)
    weights = None if weights is None else np.asarray(weights, dtype=np.float64)
    if weights is not None and weights.shape != (source.total,):
        raise InputError(f"weights have shape {weights.shape}, but there are {source.total} rows")
    if weights is not None and (not source.again or source.at is None):
        raise InputError("weights belong to rows in memory: an array or a table")
    total: State | None = None
    start = 0
    for chunk in check_chunks(source, axis, progress):
        share = None if weights is None else weights[start : start + len(chunk.rows)]
        found = state_of_chunk(chunk, axis, share, reproducible)
        if refuse_infinite:
            finite_only(found, chunk.where if len(chunk.rows) != source.total else "")
        if total is not None and len(found.moments) != len(total.moments):
            raise InputError(
                f"{chunk.where} has {len(found.moments)} features, but what came before it has {len(total.moments)}",
                hint="are all of one data set?",
            )
        total = found if total is None else total + found
        start += len(chunk.rows)
    return merge([total])


def finite_only(state: State, where: str = "") -> None:
    """Raises `InputError`, with the name of the feature, where infinity was seen."""
    infinite = state.moments.inf_count
    if infinite.any():
        j = int(np.argmax(infinite > 0))
        raise InputError(
            f"{state.where(j)} contains infinity ({int(infinite[j])} times{f' in {where}' if where else ''})",
            hint='a mean over infinity is infinite; clip or drop these rows, or infinite="skip"',
        )


def state_of_chunk(
    chunk: Chunk, axis: int | tuple[int, ...] | None, weights: Any = None, reproducible: bool = False
) -> State:
    state = State.of(chunk.rows, axis, weights=weights, reproducible=reproducible)
    return State(state.moments, state.fingerprint, chunk.names or state.names)


def check_chunks(source: Source, axis: int | tuple[int, ...] | None, progress: bool = True) -> Iterator[Chunk]:
    """All chunks, as long as they are of one form."""
    with _bar(source, progress) as advance:
        for chunk in alike(source.chunks(), axis, source.total):
            yield chunk
            advance(len(chunk.rows))


def alike(chunks: Iterator[Chunk], axis: int | tuple[int, ...] | None, total: int | None = None) -> Iterator[Chunk]:
    """These chunks, as long as they are of one form and have at least two dimensions; pieces along an axis of features
    are refused.
    """
    first: Chunk | None = None
    for chunk in chunks:
        if np.ndim(chunk.rows) < 2:
            raise InputError(ONE_DIMENSION)
        if 0 in feature_axes(np.shape(chunk.rows), axis) and len(chunk.rows) != total:
            raise InputError(
                "axis 0 counts the features, but the data comes in pieces along it",
                hint="give it as one array in memory",
            )
        if first is None:
            first = chunk
        elif chunk.names != first.names:
            raise InputError(
                f"{chunk.where} has the columns {_few(chunk.names)}, but {first.where} has {_few(first.names)}"
            )
        elif chunk.rows.ndim != first.rows.ndim:
            raise InputError(f"{chunk.where} has {chunk.rows.ndim} dimensions, but {first.where} has {first.rows.ndim}")
        yield chunk


def _few(names: tuple[str, ...]) -> str:
    return listed(list(map(repr, names)))


@contextmanager
def _bar(source: Source, wanted: bool) -> Iterator[Any]:
    """A progress bar on stderr, on a terminal alone."""
    if not wanted or not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(harmless(f"reading {source.what}"), total=source.total)
        yield lambda rows: bar.advance(task, rows)
