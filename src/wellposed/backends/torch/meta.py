"""Memory for models that were built on the meta device."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.state import torch_generators
from wellposed.errors import InputError


def materialize(model: nn.Module, device: torch.device) -> set[str]:
    """Gives memory to modules that have none, and the values of `reset_parameters` where they have it; which parameters
    have none still.

    Raises `InputError`, with nothing changed, for buffers that no such method sets and for modules of which only a part
    has memory.
    """
    without = [
        (name, module) for name, module in model.named_modules() if any(tensor.is_meta for tensor in _own(module))
    ]
    for name, module in without:
        _demand_possible(name, module)
    unset: set[str] = set()
    with Randomness(*torch_generators()).fixed():
        for name, module in without:
            module.to_empty(device=device, recurse=False)
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                unset |= {f"{name}.{own}" if name else own for own, _ in module.named_parameters(recurse=False)}
    return unset & dict(model.named_parameters()).keys()


def _own(module: nn.Module) -> list[torch.Tensor]:
    return list(chain(module.parameters(recurse=False), module.buffers(recurse=False)))


def _demand_possible(name: str, module: nn.Module) -> None:
    if not all(tensor.is_meta for tensor in _own(module)):
        raise InputError(
            f"module {name!r} is on the meta device in part only", hint="build all of it there, or none of it"
        )
    for own, _ in module.named_buffers(recurse=False):
        if not hasattr(module, "reset_parameters"):
            raise InputError(
                f"buffer {(f'{name}.{own}' if name else own)!r} is on the meta device, and what it should hold is not"
                " known",
                hint="give the model memory, set its buffers, then initialize: model.to_empty(device=...)",
            )
