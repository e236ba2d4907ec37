"""What the loss function was called on, and what stands between the last layer and it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from wellposed.backends.lines import find_caller
from wellposed.backends.measured import LossArguments
from wellposed.backends.torch.tracing.function_mode import Watcher

LOSSES = {
    "cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss",
}  # fmt: skip
ENDINGS = {
    "softmax", "log_softmax", "softmin", "sigmoid", "sigmoid_", "logsigmoid", "tanh", "tanh_", "relu", "relu_",
    "relu6", "leaky_relu",
    "leaky_relu_", "elu", "selu", "gelu", "silu", "mish", "softplus", "hardsigmoid", "hardtanh", "softsign",
    "hardswish", "exp", "log",
}  # fmt: skip
PASSING = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "float", "double", "half", "bfloat16", "to", "contiguous",
    "permute", "transpose", "movedim", "squeeze_", "unsqueeze_", "__getitem__", "select", "t", "type", "clone", "long",
}  # fmt: skip
DIFFERENCES = {"sub", "__sub__", "__rsub__", "rsub", "subtract"}
_COMBINED = {
    "mul": "a product", "__mul__": "a product", "__rmul__": "a product", "multiply": "a product",
    "add": "a sum", "__add__": "a sum", "__radd__": "a sum",
    "div": "a quotient", "__truediv__": "a quotient", "divide": "a quotient", "true_divide": "a quotient",
    "minimum": "a minimum", "maximum": "a maximum",
    **dict.fromkeys(DIFFERENCES, "a difference"),
}  # fmt: skip
_MADE_COLUMNS = {"unsqueeze", "__getitem__", "view", "reshape", "unflatten"}
"""What makes [n, 1] of [n], or takes it out: in a loss, to hold every example against every other one on purpose."""
_JOINED, _PROBABILITIES = {"cat", "concat", "concatenate", "stack", "hstack"}, {"sigmoid", "sigmoid_", "softmax"}
_FEWEST_ROWS = 3  # fewer may be anything
_MOST_ENTRIES = 1 << 20


class ObjectiveWatcher(Watcher):
    """Enter it around the loss; `calls` then holds each loss function's arguments, also where the call raised."""

    def __init__(self, targets: Iterable[torch.Tensor], data: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.calls: list[LossArguments] = []
        self._ended: dict[int, tuple[weakref.ref[torch.Tensor], tuple[str, ...]]] = {}
        self._targets: dict[int, weakref.ref[torch.Tensor]] = {id(target): weakref.ref(target) for target in targets}
        self._columns: dict[int, weakref.ref[torch.Tensor]] = {}  # made of [n] on purpose
        self._data: dict[int, weakref.ref[torch.Tensor]] = {id(one): weakref.ref(one) for one in data}
        self._seeded = bool(self._data)

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = None
        if name in LOSSES:
            call = self._call(name, dict(zip(("input", "target"), args, strict=False)) | kwargs)
        elif name in _COMBINED:
            self._combination(name, args)
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            if call is not None:
                self.calls[-1] = replace(call, raised=str(error))
            raise
        first = args[0] if args else kwargs.get("input")
        if isinstance(result, torch.Tensor) and (before := self._kept(name, args)):
            self._ended[id(result)] = (weakref.ref(result), before)
        if self._seeded and any(map(self._of_data, tree_leaves((args, kwargs)))):
            self._data |= {id(one): weakref.ref(one) for one in tree_leaves(result) if isinstance(one, torch.Tensor)}
        if isinstance(result, torch.Tensor) and isinstance(first, torch.Tensor):
            if name in _MADE_COLUMNS and (first.dim() == 1 or name == "__getitem__" or self._is_column(first)):
                self._columns[id(result)] = weakref.ref(result)
            before = self._endings(first)
            if name in ENDINGS:
                self._ended[id(result)] = (weakref.ref(result), (name.rstrip("_"), *before))
            elif name in PASSING:
                self._ended[id(result)] = (weakref.ref(result), before)
                if self._is_target(first):
                    self._targets[id(result)] = weakref.ref(result)
        return result

    def _kept(self, name: str, args: tuple[Any, ...]) -> tuple[str, ...]:
        """The endings of what is put together of parts that have the same, or of one less probabilities."""
        if name in _JOINED and args and isinstance(args[0], tuple | list):
            every = {self._endings(part) for part in args[0] if isinstance(part, torch.Tensor)}
            return every.pop() if len(every) == 1 else ()
        if name in DIFFERENCES and len(args) > 1 and 1 in (one for one in args[:2] if isinstance(one, int | float)):
            tensor = next((one for one in args[:2] if isinstance(one, torch.Tensor)), None)
            before = () if tensor is None else self._endings(tensor)
            return before if before[:1] and before[0] in _PROBABILITIES else ()
        return ()

    def _endings(self, tensor: torch.Tensor) -> tuple[str, ...]:
        known, names = self._ended.get(id(tensor), (None, ()))
        return names if known is not None and known() is tensor else ()

    def _is_target(self, tensor: torch.Tensor) -> bool:
        known = self._targets.get(id(tensor))
        return known is not None and known() is tensor

    def _call(self, name: str, given: dict[str, Any]) -> LossArguments | None:
        outputs, targets = given.get("input"), given.get("target")
        if not isinstance(outputs, torch.Tensor) or not isinstance(targets, torch.Tensor) or outputs.is_complex():
            return None
        ignored = int(given.get("ignore_index", -100)) if name in ("cross_entropy", "nll_loss") else None
        weighted = given.get("reduction") == "none" or given.get("weight") is not None
        dtype = str(targets.dtype).removeprefix("torch.")
        weights = given.get("weight") if ignored is not None else None
        known = None if not isinstance(weights, torch.Tensor) else _array(weights)
        self.calls.append(
            LossArguments(
                name, *_as_arrays(outputs, targets), self._endings(outputs), ignored, dtype, weighted, weights=known
            )
        )
        return self.calls[-1]

    def _is_column(self, tensor: torch.Tensor) -> bool:
        known = self._columns.get(id(tensor))
        return known is not None and known() is tensor

    def _of_data(self, thing: Any) -> bool:
        """Whether it was made of the batch; where that is not known, of anything."""
        known = self._data.get(id(thing))
        return not self._seeded or (known is not None and known() is thing)

    def _combination(self, name: str, args: tuple[Any, ...]) -> None:
        """What is written by hand of two tensors that do not have one shape: outputs against targets, or anything else
        that was not made so on purpose.
        """
        if len(args) < 2 or not all(isinstance(one, torch.Tensor) for one in args[:2]):
            return
        one, other = args[:2]
        if not _row_against_column(one, other) or not (self._of_data(one) and self._of_data(other)):
            return
        known = self._is_target(one) != self._is_target(other)
        if not known and (self._is_column(one) or self._is_column(other) or len(one) < _FEWEST_ROWS):
            return
        if known and _COMBINED[name] == "a difference":
            outputs, targets = (other, one) if self._is_target(one) else (one, other)
            self.calls.append(LossArguments("a difference", *_as_arrays(outputs, targets), self._endings(outputs)))
        else:
            line = find_caller(("torch", "wellposed"))
            self.calls.append(LossArguments(_COMBINED[name], *_as_arrays(one, other), line=line))


def _row_against_column(one: torch.Tensor, other: torch.Tensor) -> bool:
    """[n] against [n, 1]: axes that a user has put in on purpose look otherwise."""
    flat, column = sorted((one, other), key=torch.Tensor.dim)
    return (flat.dim(), column.dim()) == (1, 2) and column.shape[1] == 1 and flat.shape[0] == column.shape[0] > 1


def _as_arrays(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
    """Both as NumPy arrays; of large ones the first examples."""
    rows = outputs.shape[0] if outputs.dim() else 1
    kept = max(1, min(rows, _MOST_ENTRIES // max(outputs.numel() // max(rows, 1), 1)))
    if kept < rows and targets.dim() and targets.shape[0] == rows:
        outputs, targets = outputs[:kept], targets[:kept]
    return _array(outputs), _array(targets)


def _array(tensor: torch.Tensor) -> Any:
    plain = tensor.detach().to("cpu")
    return np.array((plain.double() if plain.is_floating_point() else plain).numpy())
