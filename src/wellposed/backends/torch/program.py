"""A torch model and its loss as functions of arrays."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import (
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_map,
    tree_map_with_path,
    tree_unflatten,
)

from wellposed.backends.randomness import Randomness
from wellposed.backends.structure.program import UNCHANGED, WIDE, Note, Program, Sent
from wellposed.backends.torch.arrays import view
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.state import torch_generators
from wellposed.numerics.arrays import Array

Loss = Callable[[Any, Any], torch.Tensor]


class TorchProgram(Program):
    """Within it the model may be put into evaluation mode; whoever makes it puts it back. Each pass is taken within
    `evaluated`, after which all that the model keeps is as before.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: tuple[Any, Any],
        loss: Loss,
        evaluated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._model, self._loss, self._evaluated = model, loss, evaluated
        self._inputs, self._targets = batch
        self.inputs = arrays_in("inputs", self._inputs)
        self.targets = arrays_in("targets", self._targets)
        self.recurrent = any(isinstance(module, nn.RNNBase | nn.RNNCellBase) for module in model.modules())
        rows = {len(leaf) for leaf in self.inputs.values() if leaf.ndim}
        self.complete = not any(rows.intersection(sizes) for sizes in _own_sizes(model))
        self._random = Randomness(*torch_generators())
        self._training = {module: module.training for module in model.modules()}
        self._along = {size + k for leaf in self.inputs.values() for size in leaf.shape[:3] for k in range(-2, 1)}

    @cached_property
    def draws(self) -> bool:  # type: ignore[override]
        """Whether other random numbers give other outputs in use: what is drawn for nothing does not count."""
        place = next((sent.place for sent in self.all_sent), None)
        before = self.before(place)
        if before is None or not self._random.drawn:
            return False
        with self._evaluated(), torch.no_grad(), self._random.fixed():
            self._model.eval()
            random.random()
            np.random.rand()
            for device in {tensor.device for tensor in self._model.parameters()}:
                torch.rand(1, device=device)
            leaf = _chosen(outputs_in(self._made(UNCHANGED)), place)
        return leaf is None or not np.array_equal(np.array(view(self._thinned(leaf))), before)

    def passed(self, changed: Mapping[str, Array] = UNCHANGED, place: int | None = None) -> Array | None:
        with self._evaluated(), torch.no_grad(), self._random.fixed():
            self._model.eval()
            made = outputs_in(self._made(changed))
        leaf = _chosen(made, place)
        if leaf is None or not bool(torch.isfinite(leaf).all()):
            return None
        return np.array(view(self._thinned(leaf)))  # the model may return memory of its own

    def _made(self, changed: Mapping[str, Array]) -> Any:
        return forward(self._model, with_arrays(self._inputs, "inputs", changed))

    def _thinned(self, leaf: torch.Tensor) -> torch.Tensor:
        for axis in range(1, leaf.dim()):
            size = leaf.shape[axis]
            if leaf.dim() > 2 and size > WIDE and size not in self._along:
                leaf = leaf[(slice(None),) * axis + (slice(None, None, -(-size // WIDE)),)]
        return leaf

    def sent(self) -> list[Sent]:
        with self._evaluated(), self._random.fixed():
            self._in_training()
            made = forward(self._model, self._inputs)
            leaves = outputs_in(made)
            slopes = self._directly(made) or self._by_the_graph(leaves, self._loss(made, self._targets))
            self._first = tree_map(lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, made)
        return self._told(leaves, slopes)

    def _told(self, leaves: list[Any], slopes: Mapping[int, torch.Tensor]) -> list[Sent]:
        return [
            Sent(place, np.array(view(leaves[place])), np.array(view(slope)))
            for place, slope in slopes.items()
            if bool(slope.any())
        ]

    def _directly(self, made: Any) -> dict[int, torch.Tensor]:
        """What the loss alone sends to each, where one of them is made of another; empty where the model has computed
        the loss itself.
        """
        leaves, tree = tree_flatten(made)
        if len(leaves) != len(outputs_in(made)):
            return {}
        own = {place: leaf.detach().requires_grad_(True) for place, leaf in enumerate(leaves) if sent_to(leaf)}
        handed = [as_result(own[k]) if k in own else leaf for k, leaf in enumerate(leaves)]
        value = self._loss(tree_unflatten(handed, tree), self._targets)
        if not value.requires_grad or not own:
            return {}
        slopes = torch.autograd.grad(value, list(own.values()), allow_unused=True)
        found = {place: slope for place, slope in zip(own, slopes, strict=True) if slope is not None}
        return {place: slope for place, slope in found.items() if slope.dim()}

    def _by_the_graph(self, leaves: list[Any], value: torch.Tensor) -> dict[int, torch.Tensor]:
        places = [k for k, leaf in enumerate(leaves) if sent_to(leaf) and leaf.dim() and leaf is not value]
        if not value.requires_grad or not places:
            return {}
        slopes = torch.autograd.grad(value, [leaves[k] for k in places], retain_graph=True, allow_unused=True)
        return {place: slope for place, slope in zip(places, slopes, strict=True) if slope is not None}

    def _in_training(self) -> None:
        for module, training in self._training.items():
            module.training = training

    def slope_at(self, place: int, outputs: Array, changed: Mapping[str, Array] = UNCHANGED) -> Array | None:
        leaves, tree = tree_flatten(self._first)
        if place >= len(leaves) or leaves[place] is not outputs_in(self._first)[place]:
            return None  # within an object of the user's own, in which nothing can be put
        leaf = as_tensor(outputs, leaves[place]).requires_grad_(True)
        leaves[place] = as_result(leaf)
        with self._evaluated(), self._random.fixed():
            value = self._loss(tree_unflatten(leaves, tree), with_arrays(self._targets, "targets", changed))
            if not value.requires_grad:
                return None
            (slope,) = torch.autograd.grad(value, leaf, allow_unused=True)
        return None if slope is None else view(slope)

    def watched(self, changed: Mapping[str, Array], place: int, note: Note) -> Array | None:
        with _watched(self._model, note):
            return self.passed(changed, place)


def _own_sizes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """The axes of what the model keeps that may count examples, as codes that are learnt and states that are carried
    have them: the first one of parameters, any but the last of buffers. Weights of torch's own layers have none.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding) or not type(module).__module__.startswith("torch.nn"):
            yield from (tuple(p.shape[:1]) for p in module._parameters.values() if p is not None)
            yield from (
                tuple(buffer.shape[:-1] or buffer.shape) for buffer in module._buffers.values() if buffer is not None
            )


@contextmanager
def _watched(model: nn.Module, note: Note) -> Iterator[None]:
    def tell(name: str, made: Any) -> None:
        leaf = next((one for one in tree_flatten(made)[0] if isinstance(one, torch.Tensor)), None)
        if leaf is not None and leaf.is_floating_point():
            note(name, view(leaf))

    handles = [
        module.register_forward_hook(lambda _m, _i, made, name=name: tell(name, made))
        for name, module in model.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def outputs_in(made: Any) -> list[Any]:
    """All that a model returned, also in objects of the user's own."""
    found: list[Any] = []
    for leaf in tree_flatten(made)[0]:
        held = vars(leaf) if not isinstance(leaf, torch.Tensor) and hasattr(leaf, "__dict__") else None
        found += [leaf] if held is None else tree_flatten(dict(held))[0]
    return found


def as_result(leaf: torch.Tensor) -> torch.Tensor:
    """As a model returns it: what a loss may write to in place, as a trainer that divides it does."""
    return leaf.clone()


def sent_to(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.requires_grad and not leaf.is_complex()


def _chosen(made: list[Any], place: int | None) -> torch.Tensor | None:
    leaf = next(filter(_real, made), None) if place is None else made[place]
    return leaf if isinstance(leaf, torch.Tensor) else None


def _real(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.dim() >= 2


def arrays_in(name: str, tree: Any) -> dict[str, Array]:
    return {
        name + keystr(path): view(leaf)
        for path, leaf in tree_flatten_with_path(tree)[0]
        if isinstance(leaf, torch.Tensor) and not leaf.is_complex() and leaf.layout is torch.strided
    }


def with_arrays(tree: Any, name: str, changed: Mapping[str, Array]) -> Any:
    if not changed:
        return tree

    def put(path: Any, leaf: Any) -> Any:
        array = changed.get(name + keystr(path))
        return leaf if array is None else as_tensor(array, leaf)

    return tree_map_with_path(put, tree)


def as_tensor(array: Array, leaf: torch.Tensor) -> torch.Tensor:
    # A copy: the arrays that stand for tensors share their memory.
    return torch.tensor(array, dtype=leaf.dtype, device=leaf.device)
