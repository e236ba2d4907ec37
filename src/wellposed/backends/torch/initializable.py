"""A torch model whose layers are listed in order and whose weights can be set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules import activation as activations
from torch.utils._pytree import tree_flatten

from wellposed.backends.protocol import Operation, OperationKind, Run, Signal
from wellposed.backends.torch.problem import TorchProblem
from wellposed.backends.torch.sizes import activation_of
from wellposed.backends.torch.uses import module_use
from wellposed.numerics.arrays import Vector

_UNKNOWN = Signal(float("nan"), float("nan"), float("nan"), True)


class Initializable:
    """Shows a model to `initialize`: from one forward pass of `batch`, or from the order of its modules."""

    def __init__(self, model: nn.Module, batch: Any = None) -> None:
        self.model = model
        inputs = batch[0] if isinstance(batch, tuple | list) and len(batch) == 2 else batch
        self._problem = TorchProblem(model, _any_number, (inputs, None))
        self._shown = batch is not None

    def run(self) -> Run:
        if not self._shown:
            return Run(_by_registration(self.model))
        with self._problem.preserved():
            return self._problem.run(self._problem.theta())

    def weights(self) -> dict[str, Vector]:
        return self._problem.layout.unpack(self._problem.theta())

    def assign(self, values: Mapping[str, Vector]) -> None:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in values.items():
                parameters[name].copy_(torch.as_tensor(value))


def _any_number(outputs: Any, _targets: Any) -> torch.Tensor:
    """A scalar of whatever the model returns; only the forward pass is of interest."""
    found = [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    return torch.stack([leaf.mean() for leaf in found]).sum()


def _by_registration(model: nn.Module) -> tuple[Operation, ...]:
    operations: list[Operation] = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue
        kind = _kind(module)
        if kind is None:
            continue
        use = module_use(module, name) if kind in ("linear", "conv") else None
        phi = activation_of(module) if kind == "activation" else None
        source = (len(operations) - 1,) if operations else ()
        function = type(module).__name__.lower()
        operations.append(Operation(name, kind, function, source, _UNKNOWN, None, use, phi))
    return tuple(operations)


def _kind(module: nn.Module) -> OperationKind | None:
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.modules.conv._ConvNd):
        return "conv"
    if "Norm" in type(module).__name__:
        return "norm"
    listed = type(module).__name__ in activations.__all__ and not isinstance(module, nn.MultiheadAttention | nn.Softmax)
    return "activation" if listed else None
