"""What the operations at the end of a model let its outputs reach: bounds of the last activation, and what a
normalisation after the last weights fixes of each example.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.lines import find_caller
from wellposed.backends.structure import Reach
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.objective import ENDINGS, PASSING
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.numerics.activations import RANGES

_NORMS = {"layer_norm", "instance_norm", "group_norm"}
_FEWEST = 4  # numbers that a normalisation runs over


class _Ending(NamedTuple):
    """Names of what came last, the last one first, and the axes over which each example's numbers are normalised."""

    names: tuple[str, ...]
    axes: tuple[int, ...]


class _Last(Watcher):
    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], _Ending]] = {}
        self.over_one: list[str] = []

    def of(self, tensor: Any) -> _Ending:
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else _Ending((), ())

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        first = args[0] if args else kwargs.get("input")
        if not isinstance(result, torch.Tensor) or not isinstance(first, torch.Tensor):
            return result
        before = self.of(first)
        if name in ("softmax", "log_softmax") and first.numel() > 1 and first.shape[_axis(first, args, kwargs)] == 1:
            line = find_caller(("torch", "wellposed"))
            self.over_one += [line] if line not in self.over_one else []
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


def reach_of(model: nn.Module, inputs: Any, targets: Any) -> Reach | None:
    last = _Last()
    with torch.no_grad(), last:
        made = forward(model, inputs)
    wanted = [leaf for leaf in tree_flatten(targets)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    outputs = [leaf for leaf in tree_flatten(made)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    unknown = Reach(tuple(last.over_one)) if last.over_one else None
    pairs = [(one, other) for one in outputs[:1] for other in wanted if one.shape == other.shape and one.dim() > 1]
    if not pairs:
        return unknown
    output, target = pairs[0][0], pairs[0][1].double()
    ending = last.of(output)
    if not ending.names or not bool(torch.isfinite(target).all()):
        return unknown
    low, high = RANGES.get(ending.names[0], (-inf, inf))
    variance = float(target.var(correction=0))
    if not variance:
        return unknown
    beyond = target - target.clamp(low, high)
    missed, fixed, by = float((beyond**2).mean()) / variance, "", ending.names[0]
    axes = ending.axes
    if axes and target.shape[0] > 1 and int(torch.tensor([target.shape[axis] for axis in axes]).prod()) >= _FEWEST:
        # A monotone activation behind it leaves the order of such means as it is: they stay together.
        means = target.mean(axes, keepdim=True)
        lost = float(means.var(0, correction=0).mean()) / variance
        if lost > missed:
            missed, fixed, by = lost, "mean and spread", next(name for name in ending.names if name in _NORMS)
    return Reach(tuple(last.over_one), by, fixed, low, high, missed)
