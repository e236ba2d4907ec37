"""The parameters of a model that a gradient belongs to."""

from __future__ import annotations

import torch
from torch import nn

from wellposed.backends.torch.shards import whole_of
from wellposed.errors import InputError


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """By name, each once. Raises `InputError` for one that cannot be differentiated by, and where there is none."""
    parameters = {}
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise InputError(
                f"parameter {name!r} is lazy and has no shape yet", hint="run the model once: model(inputs)"
            )
        if not parameter.requires_grad:
            continue
        if not parameter.dtype.is_floating_point:
            raise InputError(f"parameter {name!r} has dtype {parameter.dtype}; real floating-point numbers are needed")
        if parameter.is_meta:
            raise InputError(
                f"parameter {name!r} is on the meta device and has no numbers",
                hint='model.to_empty(device="cpu"), then wp.initialize(model)',
            )
        if parameter.is_inference():
            raise InputError(
                f"parameter {name!r} was made in inference mode, so that autograd cannot record it",
                hint="build or load the model outside of torch.inference_mode()",
            )
        if not torch.isfinite(whole_of(parameter)).all():
            raise InputError(f"parameter {name!r} contains NaN or infinity; there is nothing to check at such a point")
        parameters[name] = parameter
    if not parameters:
        raise InputError(
            "the model has no parameter that requires a gradient",
            hint="call model.requires_grad_(True), or check a part of it that is not frozen",
        )
    return parameters
