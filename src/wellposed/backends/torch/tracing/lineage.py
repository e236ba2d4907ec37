"""Which operations a tensor came from.

A tensor is known by its identity. One that no watched call made (by a custom autograd.Function, or by code in C++) is
followed through the graph that autograd keeps, back to the nodes of tensors that are known.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch

BATCH, INDICES = -1, -2
"""Stand for the batch's real numbers and for its whole ones among the operations that a tensor came from."""


class Lineage:
    """Tensors and graph nodes made during one run, each with the indices of the operations it came from."""

    def __init__(self) -> None:
        self._tensors: dict[int, tuple[weakref.ref[torch.Tensor], tuple[int, ...]]] = {}
        self._nodes: dict[Any, tuple[int, ...]] = {}

    def forget(self) -> None:
        """Let go of the graph: its nodes hold what watches them, which no garbage collector can see."""
        self._nodes.clear()
        self._tensors.clear()

    def note(self, tensor: torch.Tensor, sources: tuple[int, ...]) -> None:
        self._tensors[id(tensor)] = (weakref.ref(tensor), sources)
        if tensor.grad_fn is not None:
            self._nodes[tensor.grad_fn] = sources

    def of(self, tensors: Iterable[torch.Tensor]) -> tuple[int, ...]:
        """The operations that the tensors came from, each once."""
        found: dict[int, None] = {}
        for tensor in tensors:
            known, sources = self._tensors.get(id(tensor), (None, ()))
            if known is None or known() is not tensor:
                sources = self._followed(tensor.grad_fn)
            found.update(dict.fromkeys(sources))
        return tuple(found)

    def _followed(self, node: Any) -> tuple[int, ...]:
        found: dict[int, None] = {}
        waiting, seen = [node], set()
        while waiting:
            at = waiting.pop()
            if at is None or at in seen:
                continue
            seen.add(at)
            if at in self._nodes:
                found.update(dict.fromkeys(self._nodes[at]))
            else:
                waiting += [following for following, _ in at.next_functions]
        if node is not None:
            self._nodes[node] = tuple(found)
        return tuple(found)
