"""Copies of the user's objects, to be trained and thrown away."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def copied(model: nn.Module, loss: Any, optimizer: Any, shared: Sequence[Any] = ()) -> tuple[nn.Module, Any, Any]:
    """Model, loss and optimizer, copied together, so that each copy knows the others; what is `shared` is not copied."""
    made = {id(thing): thing for thing in shared}
    twins = copy.deepcopy((model, loss, optimizer), made)
    if optimizer is not None:
        for key in vars(optimizer).keys() - vars(twins[2]).keys():  # what an optimizer leaves out when it is copied
            if not callable(vars(optimizer)[key]):  # a schedule's wrapper of step is bound to the user's own optimizer
                setattr(twins[2], key, copy.deepcopy(vars(optimizer)[key], made))
    return twins


def with_hooks(twin: nn.Module, model: nn.Module) -> nn.Module:
    """The copy with the hooks of the parameters' gradients, which deepcopy leaves behind."""
    for mine, its in zip(model.parameters(), twin.parameters(), strict=True):
        for hook in (mine._backward_hooks or {}).values():
            its.register_hook(hook)
    return twin


def shares(twin: nn.Module, model: nn.Module, *, trained: bool = False) -> bool:
    """Whether the copy holds parameters of the original itself (that are trained): a module may be its own copy."""
    own = {id(parameter) for parameter in model.parameters()}
    return any(id(parameter) in own and (parameter.requires_grad or not trained) for parameter in twin.parameters())


def emptied(twin: nn.Module, model: nn.Module, optimizer: Any) -> None:
    """Lets go of what a copy and its optimizer hold, which refer to each other in circles."""
    own = {id(parameter) for parameter in model.parameters()}
    for parameter in twin.parameters():
        if id(parameter) not in own:
            parameter.grad = None
            parameter.data = torch.empty(0, dtype=parameter.dtype, device=parameter.device)
    getattr(optimizer, "state", {}).clear()
