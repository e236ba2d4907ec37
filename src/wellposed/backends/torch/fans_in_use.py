"""The fans of any module: known layers by their own arithmetic, others by watching them at work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from wellposed.backends.torch.fans import fans, fans_within
from wellposed.backends.torch.initializable import TorchInitializable
from wellposed.errors import InputError
from wellposed.numerics.fans import Fan


def used_fans(layer: nn.Module, inputs: Any) -> dict[str, Fan]:
    """By name; `inputs` is what the layer is called with, or None.

    Raises `InputError` where the layer has no weights, or weights whose use only a call would show.
    """
    found, rest = fans_within(layer, _size(layer, inputs))
    if inputs is not None and not fans(layer):
        for operation in TorchInitializable(layer, (inputs, None)).run().operations:
            use = operation.weight
            if use is not None and (use.name in rest or operation.kind == "conv"):
                found[use.name] = Fan(use.fan_in, use.fan_out)
        rest = [name for name in rest if name not in found]
    if rest:
        raise InputError(
            f"which axes of {', '.join(map(repr, rest))} are summed over cannot be read off {type(layer).__name__}"
            + (", nor from its call" if inputs is not None else ""),
            hint="give what it is called with: wp.fan(layer, inputs)" if inputs is None else "",
        )
    if not found:
        raise InputError(f"{type(layer).__name__} has no weights that sum inputs into outputs")
    return found


def _size(layer: nn.Module, inputs: Any) -> Sequence[int] | None:
    if not isinstance(layer, nn.modules.conv._ConvNd) or inputs is None:
        return None
    given = inputs[0] if isinstance(inputs, tuple) else inputs
    if not isinstance(given, torch.Tensor) or given.dim() < len(layer.kernel_size) + 1:
        raise InputError(f"{type(layer).__name__} reads a tensor of {len(layer.kernel_size) + 2} axes")
    return tuple(given.shape[-len(layer.kernel_size) :])
