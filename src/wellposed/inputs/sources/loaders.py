"""Batches that somebody else makes: torch DataLoaders, generators, any iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wellposed.errors import InputError
from wellposed.inputs.columns import columns_of
from wellposed.inputs.features import as_array
from wellposed.inputs.sources.chunk import Chunk, Source


def loader(data: Iterable[Any], key: Any = None) -> Source:
    """Of each batch the array itself, the first item of a tuple, or what `key` names."""

    def chunks() -> Iterator[Chunk]:
        for number, batch in enumerate(data):
            where = f"batch {number}"
            names = tuple(map(str, columns_of(batch)))
            yield Chunk(as_array(_inputs(batch, key, where), where), where, names)

    return Source("the batches", chunks, again=iter(data) is not data)


def _inputs(batch: Any, key: Any, where: str) -> Any:
    if key is not None:
        try:
            return batch[key]
        except (KeyError, IndexError, TypeError) as error:
            known = f"it has {', '.join(map(repr, batch))}" if isinstance(batch, Mapping) else ""
            raise InputError(f"{where} has no entry {key!r}", hint=known) from error
    if isinstance(batch, Mapping):
        raise InputError(f"{where} is a mapping with {', '.join(map(repr, batch))}", hint="name the inputs: key=...")
    return batch[0] if isinstance(batch, tuple | list) and batch and hasattr(batch[0], "shape") else batch
