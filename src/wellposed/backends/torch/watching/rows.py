"""Which rows of which data a batch was taken from: followed through indexing and what keeps rows where they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from wellposed.backends.torch.watching.trees import tensors_in
from wellposed.numerics.arrays import Array

_TAKING = {"__getitem__", "index_select", "narrow"}
_MOST = 1_000_000  # rows: of longer data they are not followed


class Source(NamedTuple):
    """Data that rows are taken from: a number for it, its length, and when it was made; 0 where that was not seen."""

    number: int
    length: int
    born: int


class Rows(NamedTuple):
    """Rows of a source."""

    source: Source
    taken: Array


class Origins:
    """Of tensors of data: the rows of what they were taken from, of what that was taken from, and so on."""

    def __init__(self) -> None:
        self._known: Any = WeakTensorKeyDictionary()
        self._born: Any = WeakTensorKeyDictionary()
        self._sources: Any = WeakTensorKeyDictionary()
        self._clock = 0

    def of(self, tensor: torch.Tensor) -> tuple[Rows, ...]:
        """Nothing of what was not taken from anything."""
        return self._known.get(tensor, ())  # type: ignore[no-any-return]

    def note(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """A call on data, and what it made."""
        if not isinstance(result, torch.Tensor) or result.is_nested or result.dim() == 0 or not len(result):
            return
        self._clock += 1
        self._born.setdefault(result, self._clock)
        if name in _TAKING:
            self._known[result] = self._taken(name, args, kwargs, len(result))
            return
        known = [rows for _, tensor in tensors_in((args, kwargs), 2) if (rows := self.of(tensor))]
        if known and len(known[0][0].taken) == len(result) and all(_same(known[0], other) for other in known[1:]):
            self._known[result] = known[0]

    def _taken(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> tuple[Rows, ...]:
        tensor = args[0]
        if not isinstance(tensor, torch.Tensor) or tensor.dim() == 0 or not 0 < len(tensor) <= _MOST:
            return ()
        if name == "__getitem__":
            index = args[1][0] if isinstance(args[1], tuple) and args[1] else args[1]
        elif len(args) < 3 or kwargs or args[1] != 0:
            return ()
        else:
            index = args[2] if name == "index_select" else slice(int(args[2]), int(args[2]) + int(args[3]))
        if not isinstance(index, torch.Tensor | slice | list | np.ndarray):
            return ()
        index = index.detach().cpu().numpy() if isinstance(index, torch.Tensor) else index
        if tensor not in self._sources:
            self._clock += 1
            self._sources[tensor] = Source(self._clock, len(tensor), self._born.get(tensor, 0))
        levels = (Rows(self._sources[tensor], np.arange(len(tensor))), *self.of(tensor))
        try:
            taken = tuple(rows._replace(taken=np.asarray(rows.taken[index])) for rows in levels)
        except (IndexError, TypeError, ValueError):
            return ()
        return taken if taken[0].taken.ndim == 1 and len(taken[0].taken) == count else ()


def apart(inputs: Sequence[tuple[Rows, ...]], target: tuple[Rows, ...]) -> bool:
    """Whether a target was taken from other rows than the inputs: no two of their sources, where they are of one
    length, have the same rows taken, or all as far ahead; or one side was put into another order and the other, which
    was there already, was not.
    """
    pairs = [
        (one, other)
        for levels in inputs
        for one in levels
        for other in target
        if one.source.number != other.source.number and one.source.length == other.source.length > len(other.taken)
    ]
    if not pairs:
        return False
    if not any(_together(one, other) for one, other in pairs):
        return True
    return any(_reordered(levels, target) or _reordered(target, levels) for levels in inputs)


def _reordered(levels: tuple[Rows, ...], other: tuple[Rows, ...]) -> bool:
    """Whether the first was put into an order that the other, older one was not."""
    for late, early in pairwise(levels):
        for rows in other:
            same_length = late.source.length == early.source.length == rows.source.length
            older = 0 < rows.source.born < late.source.born
            if same_length and older and _together(late, rows) and not any(_together(early, one) for one in other):
                return True
    return False


def _together(one: Rows, other: Rows) -> bool:
    """The same rows, or all of them as far ahead."""
    return len(one.taken) == len(other.taken) and bool(np.ptp(one.taken - other.taken) == 0)


def _same(one: tuple[Rows, ...], other: tuple[Rows, ...]) -> bool:
    return len(one[0].taken) == len(other[0].taken) and bool((one[0].taken == other[0].taken).all())
