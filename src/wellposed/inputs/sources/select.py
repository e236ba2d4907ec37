"""Which source reads this data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

from wellposed.inputs.features import as_array
from wellposed.inputs.sources.chunk import Chunk, Source
from wellposed.inputs.sources.files import files
from wellposed.inputs.sources.loaders import loader
from wellposed.inputs.sources.tables import table


def source_of(data: Any, columns: Sequence[str] = (), key: Any = None) -> Source:
    """Paths and patterns; tables; arrays of any library; loaders and other iterables of batches.

    Raises `InputError` for what is none of these.
    """
    if isinstance(data, str | PathLike):
        return files([data], columns, key)  # type: ignore[list-item]
    if isinstance(data, list | tuple) and data and all(isinstance(item, str | PathLike) for item in data):
        return files(list(data), columns, key)
    if (found := table(data, columns)) is not None:
        return found
    batches = isinstance(data, list | tuple) and len(data) > 0 and all(getattr(item, "ndim", 0) >= 2 for item in data)
    if batches or (not _is_array(data) and isinstance(data, Iterable)):
        return loader(data, key)
    array = as_array(data)
    return Source(
        "the data", lambda: iter([Chunk(array)]), len(array), at=lambda indices: iter([Chunk(array[indices])])
    )


def _is_array(data: Any) -> bool:
    return isinstance(data, list | tuple) or any(
        hasattr(data, name) for name in ("__array__", "__dlpack__", "__array_interface__", "tocsr")
    )
