"""Memory for models that were built on the meta device."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from wellposed.backends.torch.state import torch_generators
from wellposed.errors import InputError


def materialized(model: nn.Module, device: torch.device) -> bool:
    """Gives memory to what has none; whether there was such. Buffers get the values that `reset_parameters` of their module sets.

    Raises `InputError`, with nothing changed, for buffers that no such method sets: what they should hold is not known.
    """
    without = [
        (name, module)
        for name, module in model.named_modules()
        if any(tensor.is_meta for tensor in chain(module.parameters(recurse=False), module.buffers(recurse=False)))
    ]
    for name, module in without:
        for own, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta and not hasattr(module, "reset_parameters"):
                path = f"{name}.{own}" if name else own
                raise InputError(
                    f"buffer {path!r} is on the meta device, and what it should hold is not known",
                    hint="give the model memory, set its buffers, then initialize: model.to_empty(device=...)",
                )
    kept = [(generator, generator.read()) for generator in torch_generators()]
    try:
        for _, module in without:
            module.to_empty(device=device, recurse=False)
            if any(True for _ in module.buffers(recurse=False)):
                module.reset_parameters()
    finally:
        for generator, state in kept:
            generator.put(state)
    return bool(without)
