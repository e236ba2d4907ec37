"""What the loss function was called on, and what stands between the last layer and it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

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
_MOST_ENTRIES = 1 << 20


class ObjectiveWatcher(Watcher):
    """Enter it around the loss; `calls` then holds each loss function's arguments, also where the call raised."""

    def __init__(self, targets: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.calls: list[LossArguments] = []
        self._ended: dict[int, tuple[weakref.ref[torch.Tensor], tuple[str, ...]]] = {}
        self._targets: dict[int, weakref.ref[torch.Tensor]] = {id(target): weakref.ref(target) for target in targets}

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = None
        if name in LOSSES:
            call = self._call(name, dict(zip(("input", "target"), args, strict=False)) | kwargs)
        elif name in DIFFERENCES:
            self._difference(name, args)
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            if call is not None:
                self.calls[-1] = replace(call, raised=str(error))
            raise
        first = args[0] if args else kwargs.get("input")
        if isinstance(result, torch.Tensor) and isinstance(first, torch.Tensor):
            before = self._endings(first)
            if name in ENDINGS:
                self._ended[id(result)] = (weakref.ref(result), (name.rstrip("_"), *before))
            elif name in PASSING:
                self._ended[id(result)] = (weakref.ref(result), before)
                if self._is_target(first):
                    self._targets[id(result)] = weakref.ref(result)
        return result

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

    def _difference(self, name: str, args: tuple[Any, ...]) -> None:
        """outputs - targets written by hand, where the two do not have one shape."""
        if len(args) < 2 or not all(isinstance(one, torch.Tensor) for one in args[:2]):
            return
        one, other = args[:2]
        if self._is_target(one) == self._is_target(other) or not _row_against_column(one, other):
            return
        outputs, targets = (other, one) if self._is_target(one) else (one, other)
        self.calls.append(LossArguments("a difference", *_as_arrays(outputs, targets), self._endings(outputs)))


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
