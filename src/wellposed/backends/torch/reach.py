"""What the operations at the end of a model let its outputs reach: bounds of the last activation, and what a
normalisation after the last weights fixes of each example.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.lines import find_caller
from wellposed.backends.structure.reach import reach_of
from wellposed.backends.structure.shown import Reach
from wellposed.backends.torch.arrays import as_numpy
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.objective import ENDINGS, PASSING
from wellposed.backends.torch.tracing.function_mode import Watcher

_NORMS = {"layer_norm", "instance_norm", "group_norm"}


class _Ending(NamedTuple):
    """Names of what came last, the last one first, and the axes over which each example's numbers are normalised."""

    names: tuple[str, ...]
    axes: tuple[int, ...]


class _Last(Watcher):
    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], _Ending]] = {}
        self._softmaxes: dict[str, int] = {}  # by the line, the most numbers that one runs over

    @property
    def over_one(self) -> tuple[str, ...]:
        return tuple(line for line, most in self._softmaxes.items() if most == 1)

    def of(self, tensor: Any) -> _Ending:
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else _Ending((), ())

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        if not isinstance(result, torch.Tensor) or not isinstance(first, torch.Tensor):
            return result
        before = self.of(first)
        if name in ("softmax", "log_softmax") and first.numel() > 1:
            line = find_caller(("torch", "wellposed"))
            self._softmaxes[line] = max(self._softmaxes.get(line, 0), first.shape[_axis(first, args, kwargs)])
        if name in ENDINGS:
            self._note(result, _Ending((name.rstrip("_"), *before.names), before.axes))
        elif name in _NORMS:
            self._note(result, _Ending((name,), _axes(name, first, args, kwargs)))
        elif name in PASSING and result.shape == first.shape:
            self._note(result, before)
        elif name in PASSING:
            self._note(result, _Ending(before.names, ()))
        return result

    def _note(self, tensor: torch.Tensor, ending: _Ending) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), ending)


def _axes(name: str, x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    if name == "layer_norm":
        shape = args[1] if len(args) > 1 else kwargs["normalized_shape"]
        return tuple(range(x.dim() - len(shape), x.dim()))
    if name == "instance_norm":
        return tuple(range(2, x.dim()))
    groups = args[1] if len(args) > 1 else kwargs["num_groups"]
    return tuple(range(1, x.dim())) if groups == 1 else tuple(range(2, x.dim())) if groups == x.shape[1] else ()


def _axis(x: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    return axis if isinstance(axis, int) and x.dim() else -1


def reach_in(model: nn.Module, inputs: Any, targets: Any) -> Reach | None:
    last = _Last()
    with torch.no_grad(), last:
        made = forward(model, inputs)
    wanted = [leaf for leaf in tree_flatten(targets)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    outputs = [leaf for leaf in tree_flatten(made)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    over_one = last.over_one
    for output in outputs[:1]:
        for target in wanted:
            if output.shape == target.shape and output.dim() > 0:
                names, axes = last.of(output)
                norm = next((name for name in names if name in _NORMS), "")
                return reach_of(as_numpy(target), next(iter(names), ""), norm, axes if norm else (), over_one)
    return Reach(over_one) if over_one else None
