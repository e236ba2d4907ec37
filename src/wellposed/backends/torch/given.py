"""What a user gives for a torch problem, refused in one clear message where no check can do with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.torch.groups import groups_of
from wellposed.errors import InputError


def demand_given(model: Any, loss: Any, batch: Any, optimizer: Any) -> None:
    """Raises `InputError`."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model must be a torch.nn.Module, not {type(model).__name__}",
            hint="for functions of arrays there are JaxProblem and FunctionProblem",
        )
    if not callable(loss) or isinstance(loss, type):
        what = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
        raise InputError(
            f"loss must be a function of (outputs, targets), not {what}",
            hint="for example nn.CrossEntropyLoss(), with brackets",
        )
    if optimizer is not None and (isinstance(optimizer, type) or not groups_of(optimizer)):
        what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise InputError(
            f"optimizer must be a torch optimizer that holds the model's parameters, not {what}",
            hint="for example torch.optim.Adam(model.parameters(), lr=1e-3)",
        )
    if torch.is_inference_mode_enabled():
        raise InputError(
            "a check needs gradients, and torch.inference_mode() is on", hint="call it outside of that block"
        )
    if any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in tree_flatten(batch)[0]):
        raise InputError(
            "the batch holds a tensor on the meta device, which has no numbers", hint="give real inputs and targets"
        )
    if any(isinstance(leaf, torch.Tensor) and leaf.is_inference() for leaf in tree_flatten(batch)[0]):
        raise InputError(
            "the batch holds a tensor that was made in inference mode, which autograd cannot record",
            hint="clone it outside of torch.inference_mode(): inputs.clone()",
        )


def demand_named(loss: Any, batch: Any, *, takes_model: bool) -> None:
    """Where `inputs` or `targets` name the data of a loss of the model alone. Raises `InputError`."""
    if batch is not None:
        raise InputError(
            "data are given twice: as batch, and as inputs or targets",
            hint="TorchProblem(model, loss, (inputs, targets))",
        )
    if not takes_model:
        raise InputError(
            "inputs= and targets= name the data of a loss of one argument, the model; this loss takes more",
            hint="give it a batch: TorchProblem(model, loss, (inputs, targets))",
        )
