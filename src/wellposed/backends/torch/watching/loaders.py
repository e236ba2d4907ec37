"""The data sets behind the loaders of a script: what is held out, and whether targets belong to their inputs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.watching.alive import alive
from wellposed.backends.torch.watching.trees import tensors_in
from wellposed.backends.watched import HeldOut
from wellposed.numerics.arrays import Array
from wellposed.users_code import ask

_TRAINED_ON, _HELD_OUT = 4000, 400  # rows looked at, at most
_SECONDS = 2.0  # for each data set


class Loaders:
    """Which loader the training batches come from, and which others there are."""

    def __init__(self) -> None:
        self._fetched: Any = None  # the data set of the last batch that was fetched
        self._trained: list[Any] = []
        self.batches = 0

    def fetched(self, iterator: Any) -> None:
        self._fetched = getattr(iterator, "_dataset", None)

    def trained(self) -> None:
        """A batch goes into a model that is trained."""
        if self._fetched is not None and not any(known is self._fetched for known in self._trained):
            self._trained.append(self._fetched)

    @property
    def dataset(self) -> Any:
        """The first that is trained on."""
        return self._trained[0] if self._trained else None

    def settle(self, *, untouched: bool) -> tuple[list[HeldOut], tuple[Array, Array] | None]:
        """What is held out, and rows of inputs with their targets. `untouched`: the script goes on, so that only data
        sets are read that reading does not change.
        """
        if self.dataset is None:
            return [], None
        loaders = alive(DataLoader)
        own = [loader for loader in loaders if loader.dataset is self.dataset]
        self.batches = max((ask(partial(len, loader), 0) for loader in own), default=0)
        trained = set(map(id, self._trained))
        others = list({id(x.dataset): x.dataset for x in loaders if id(x.dataset) not in trained}.values())
        with Randomness(*torch_generators()).fixed():
            return self._held_out(others, untouched), self._pairs(untouched)

    def _held_out(self, others: list[Any], untouched: bool) -> list[HeldOut]:
        known: list[int] | None = None
        found = []
        for other in others:
            shared = _by_index(self.dataset, other)
            if shared is not None:
                found.append(HeldOut(_name(other), len(other), shared, 0.0))
                continue
            if not (_readable(self.dataset, untouched) and _readable(other, untouched)):
                continue
            if known is None:
                known = [_digest(item) for item in _items(self.dataset, _TRAINED_ON)]
            rows = [_digest(item) for item in _items(other, _HELD_OUT)]
            if not rows or not known:
                continue
            distinct = set(known)
            covered = len(known) / len(self.dataset)  # the share of the training set that was looked at
            share = sum(row in distinct for row in rows) / len(rows) / covered
            if share >= 1 and len(other) == len(self.dataset):
                continue  # the training data made again, as for another run
            twice = sum(count for count in Counter(known).values() if count > 1) / len(known)
            found.append(HeldOut(_name(other), len(rows), min(share, 1.0), twice))
        return found

    def _pairs(self, untouched: bool) -> tuple[Array, Array] | None:
        if not _readable(self.dataset, untouched):
            return None
        items = list(_items(self.dataset, 1000))
        if not items or not isinstance(items[0], tuple | list) or len(items[0]) != 2:
            return None
        return ask(lambda: (_stack([item[0] for item in items]), _stack([item[1] for item in items])), None)


def _readable(dataset: Any, untouched: bool) -> bool:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        return False
    return (
        not untouched
        or type(dataset) in (TensorDataset, list, tuple)
        or (type(dataset) is Subset and _readable(dataset.dataset, untouched))
    )


def _items(dataset: Any, most: int) -> Iterator[Any]:
    count = ask(lambda: len(dataset), 0)
    end = time.perf_counter() + _SECONDS
    for index in np.linspace(0, count - 1, min(count, most)).astype(int) if count else ():
        item = ask(partial(dataset.__getitem__, int(index)), None)
        if item is None or time.perf_counter() > end:
            return
        yield item


def _by_index(dataset: Any, other: Any) -> float | None:
    """Of two parts of one data set, the share of the other's examples that this one has."""
    if type(dataset) is Subset and type(other) is Subset and dataset.dataset is other.dataset:
        own = set(map(int, dataset.indices))
        return sum(int(index) in own for index in other.indices) / max(len(other.indices), 1)
    return None


def _name(dataset: Any) -> str:
    kind = type(dataset).__name__
    return f"{kind} with {len(dataset):,} rows"


def _digest(item: Any) -> int:
    parts: list[Any] = [tensor.detach().cpu().numpy().tobytes() for _, tensor in tensors_in(item)]
    if not parts:
        parts = [np.asarray(item).tobytes()] if isinstance(item, np.ndarray) else [repr(item)]
    return hash(tuple(parts))


def _stack(values: list[Any]) -> Array:
    return np.stack(
        [value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value) for value in values]
    )
