"""Statistics of inputs as a torch module, folded into a first layer, gathered over ranks, written as ONNX."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Standardize(nn.Module):
    """(x - mean) / scale along the axes that count features; buffers move, save, export and compile with the model.

    The mean is kept in two parts, so that float32 loses no digits to a large one; `rotation` [D, D], where there is
    one, follows.
    """

    mean: torch.Tensor
    mean_rest: torch.Tensor
    scale: torch.Tensor
    rotation: torch.Tensor | None

    def __init__(
        self,
        mean: tuple[Vector, Vector],
        scale: Vector,
        rotation: Vector | None,
        axes_of: Callable[[tuple[int, ...]], tuple[int, ...]],
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = torch.get_default_dtype() if dtype is None else dtype
        limits = torch.finfo(dtype)
        if np.max(np.abs(mean[0])) > limits.max or np.max(scale) > limits.max or np.min(scale) < limits.tiny:
            raise InputError(
                f"the statistics do not fit into {str(dtype).rpartition('.')[2]}", hint="as_module(dtype=torch.float64)"
            )
        exact = torch.as_tensor(mean[0], dtype=torch.float64)
        self.register_buffer("mean", exact.to(dtype))
        self.register_buffer("mean_rest", (exact - exact.to(dtype).double() + torch.as_tensor(mean[1])).to(dtype))
        self.register_buffer("scale", torch.as_tensor(scale).to(dtype))
        self.register_buffer("rotation", None if rotation is None else torch.as_tensor(rotation).to(dtype))
        self._axes_of = axes_of

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        axes = self._axes_of(tuple(x.shape))
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
        # Whole numbers are exact in float64, and only their differences in less.
        y = x if x.is_floating_point() else x.to(torch.float64)
        y = ((y - self.mean.reshape(shape)) - self.mean_rest.reshape(shape)) / self.scale.reshape(shape)
        y = y.to(x.dtype if x.is_floating_point() else self.mean.dtype)
        if self.rotation is None:
            return y
        moved = torch.movedim(y, axes, tuple(range(y.ndim - len(axes), y.ndim)))
        turned = (moved.reshape(*moved.shape[: y.ndim - len(axes)], -1) @ self.rotation.to(y.dtype)).reshape(
            moved.shape
        )
        return torch.movedim(turned, tuple(range(y.ndim - len(axes), y.ndim)), axes)

    def extra_repr(self) -> str:
        return f"{self.scale.numel()} features"


def fold(layer: Any, mean: Vector, scale: Vector, digits: float) -> Any:
    """A copy of a Linear or Conv layer that takes raw inputs: W' = W / scale, b' = b - W' mean.

    Raises `InputError`, with the number, where that would cost more than `digits` decimal digits: rounding of the
    products then grows from eps sum |W| to eps sum |W| (1 + |mean| / scale); and where a convolution pads raw inputs
    with zeros, which stand for the mean once they are standardized.
    """
    if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or isinstance(
        layer, nn.modules.conv._ConvTransposeNd
    ):
        raise InputError(f"statistics fold into Linear and Conv layers, not into {type(layer).__name__}")
    convolution = isinstance(layer, _CONVOLUTIONS)
    features = layer.in_channels if convolution else layer.in_features
    if features != mean.size:
        raise InputError(f"the layer takes {features} features, but the statistics are of {mean.size}")
    weight = layer.weight.detach().double().cpu().numpy()
    out, groups = weight.shape[0], getattr(layer, "groups", 1)
    # The statistics of the input channels that each output sees: [out, in / groups].
    own = [part.reshape(groups, -1).repeat(out // groups, axis=0) for part in (mean, scale)]
    centre, width = (part.reshape(*part.shape, *[1] * (weight.ndim - 2)) for part in own)
    size = np.abs(weight).reshape(out, -1).sum(axis=1)
    grown = (np.abs(weight) * (1 + np.abs(centre) / width)).reshape(out, -1).sum(axis=1)
    lost = float(np.log10(np.max(np.divide(grown, size, out=np.ones_like(size), where=size > 0))))
    if lost > digits:
        raise InputError(
            f"folding would cost {lost:.1f} of the about {-np.log10(torch.finfo(layer.weight.dtype).eps):.0f} digits of"
            f" {str(layer.weight.dtype).rpartition('.')[2]}: the mean is up to {np.max(np.abs(mean) / scale):.3g}"
            " standard deviations",
            hint="keep standardizer.as_module() before the layer, or accept it: fold_into(layer, digits=...)",
        )
    new = weight / width
    shift = (new * centre).reshape(out, -1).sum(axis=1)
    if convolution and layer.padding_mode == "zeros" and _pads(layer) and np.any(mean != 0):
        raise InputError(
            "the layer pads with zeros, which are not the mean of raw inputs: outputs at the border would be off by up"
            f" to {float(np.abs(new * centre).reshape(out, -1).sum(axis=1).max()):.3g}",
            hint="padding='valid', another padding_mode, or standardizer.as_module() before the layer",
        )
    result = copy.deepcopy(layer)
    bias = np.zeros(out) if layer.bias is None else layer.bias.detach().double().cpu().numpy()
    with torch.no_grad():
        result.weight.copy_(torch.as_tensor(new))
        if result.bias is None:
            result.bias = nn.Parameter(torch.zeros(out, dtype=result.weight.dtype, device=result.weight.device))
        result.bias.copy_(torch.as_tensor(bias - shift))
    return result


def _pads(layer: Any) -> bool:
    return layer.padding != "valid" and (layer.padding == "same" or any(layer.padding))


def written_as_onnx(module: nn.Module, path: str | os.PathLike[str], shape: tuple[int, ...]) -> None:
    """The module as an ONNX file, for inputs of that shape, the first axis being free."""
    example = torch.zeros(shape, dtype=torch.get_default_dtype())
    free = {0: torch.export.Dim("batch")} if shape[0] > 1 else None
    torch.onnx.export(
        module.eval(),
        (example,),
        os.fspath(path),
        dynamo=True,
        dynamic_shapes=(free,),
        verbose=False,
        external_data=False,
    )


def gather(own: dict[str, Any], group: Any = None) -> list[dict[str, Any]]:
    """What every rank of the group brought, in the order of ranks. Raises `InputError` where no process group is
    there.
    """
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        raise InputError(
            "there is no process group", hint="torch.distributed.init_process_group first, or start with torchrun"
        )
    found: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(found, own, group=group)
    return found
