"""Which call wrote last to a piece of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from wellposed.backends.torch.watching.nodes import Node


class Written:
    """As long as the memory is the same one: what is freed and given to another tensor was written by nobody."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Node, StorageWeakRef]] = {}

    def note(self, tensor: torch.Tensor, node: Node) -> None:
        try:
            self._last[memory_of(tensor)] = node, StorageWeakRef(tensor.untyped_storage())
        except (RuntimeError, NotImplementedError):  # a tensor without memory of its own
            return

    def by(self, tensor: torch.Tensor) -> Node | None:
        """The call; None where there is none."""
        if not self._last:
            return None
        memory = memory_of(tensor)
        node, storage = self._last.get(memory, (None, None))
        if storage is not None and storage.expired():
            del self._last[memory]
            return None
        return node

    def forget(self, which: Callable[[Node], bool]) -> None:
        self._last = {memory: kept for memory, kept in self._last.items() if not which(kept[0])}

    def forget_of(self, tensor: torch.Tensor) -> None:
        self._last.pop(memory_of(tensor), None)

    def clear(self) -> None:
        self._last.clear()


def memory_of(tensor: torch.Tensor) -> int:
    """Where it lies; of a tensor without memory of its own, itself."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return id(tensor)
