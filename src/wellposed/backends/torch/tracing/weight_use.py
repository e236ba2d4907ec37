"""Which parameter an operation multiplies with, in whatever view, and what the parameter's axes mean there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import nn

from wellposed.backends.measured import WeightUse
from wellposed.backends.torch.fans import fans
from wellposed.numerics.fans import Window, convolution

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
_PRODUCTS = {"matmul", "__matmul__", "mm", "bmm"}
_SUMMED_PRODUCTS = {"addmm", "baddbmm"}
_COPIES = {"to", "float", "half", "bfloat16", "double", "type", "type_as", "contiguous", "clone"}


@dataclass(frozen=True)
class _View:
    """A parameter as it is seen: for each axis of the view the axes of the parameter that it runs over."""

    name: str
    axes: tuple[tuple[int, ...], ...]
    tensor: torch.Tensor  # kept, so that its id stays its own
    parameter: nn.Parameter


class Uses:
    """The parameters of a model and the views of them that were made during a run."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._views: dict[int, _View] = {}
        self._look()

    def _look(self) -> None:
        for name, parameter in self._model.named_parameters():
            self._views[id(parameter)] = _View(
                name, tuple((axis,) for axis in range(parameter.dim())), parameter, parameter
            )

    def _view(self, tensor: Any) -> _View | None:
        if isinstance(tensor, nn.Parameter) and id(tensor) not in self._views:
            self._look()  # a layer sharded over ranks has a parameter of another identity, the whole one, while it runs
        return self._views.get(id(tensor))

    def forget(self) -> None:
        self._views.clear()

    def name(self, tensor: Any) -> str:
        view = self._view(tensor)
        return view.name if view is not None else ""

    def note(self, name: str, source: Any, result: Any) -> None:
        """What was made of a parameter: a view of it, or a copy in another dtype."""
        known = self._view(source)
        if known is None:
            return
        for made in result if isinstance(result, tuple | list) else (result,):
            if not isinstance(made, torch.Tensor) or made.layout is not torch.strided or id(made) in self._views:
                continue
            if name in _COPIES and made.shape == known.tensor.shape:
                self._views[id(made)] = replace(known, tensor=made)
            elif made.dim() > 1 and made.numel() and (axes := _seen(known.parameter, made)) is not None:
                self._views[id(made)] = _View(known.name, axes, made, known.parameter)

    def of(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> WeightUse | None:
        """How a call of a linear map, a convolution or a product uses its weight; None where that is no parameter."""
        if name == "linear" or name in CONVOLUTIONS:
            view = self._view(_given(args, kwargs, 1, "weight"))
            bias = self.name(_given(args, kwargs, 2, "bias"))
            if view is None:
                return None
            return _product(view, bias, (1,), (0,)) if name == "linear" else _convolved(view, bias, name, args, kwargs)
        if name in _PRODUCTS or name in _SUMMED_PRODUCTS:
            summed = name in _SUMMED_PRODUCTS
            factors = [argument for argument in (*args, *kwargs.values()) if isinstance(argument, torch.Tensor)][
                summed:
            ]
            view = self._view(factors[1]) if len(factors) > 1 else None
            if view is None or view.tensor.dim() < 2:
                return None
            last = view.tensor.dim() - 1
            return _product(view, self.name(args[0]) if summed else "", (last - 1,), (last,))
        if name == "einsum":
            return self._contracted(args)
        return None

    def _contracted(self, args: tuple[Any, ...]) -> WeightUse | None:
        """An einsum of two operands: its letters say which axes are summed, which are made, and which run along."""
        operands = list(args[1]) if len(args) == 2 and isinstance(args[1], tuple | list) else list(args[1:])
        if not isinstance(args[0], str) or len(operands) != 2:
            return None
        terms, _, out = args[0].replace(" ", "").replace("...", "").partition("->")
        letters = terms.split(",")
        for number, operand in enumerate(operands):
            view = self._view(operand)
            if view is None or len(letters[number]) != view.tensor.dim() or view.tensor.dim() < 2:
                continue
            mine, other = letters[number], letters[1 - number]
            summed = tuple(axis for axis, letter in enumerate(mine) if letter not in out)
            made = tuple(axis for axis, letter in enumerate(mine) if letter in out and letter not in other)
            return _product(view, "", summed, made) if summed and made else None
        return None


def _seen(parameter: torch.Tensor, view: torch.Tensor) -> tuple[tuple[int, ...], ...] | None:
    """The parameter's axes along each axis of a view of its storage, by their strides; None for other tensors."""
    strided = parameter.layout is torch.strided and parameter.is_contiguous()
    if not strided or view.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr():
        return None
    strides = {parameter.stride(axis): axis for axis in range(parameter.dim()) if parameter.shape[axis] > 1}
    axes: list[tuple[int, ...]] = []
    for size, stride in zip(view.shape, view.stride(), strict=True):
        axis = strides.get(stride)
        if size == 1:
            axes.append(())
            continue
        if axis is None:
            return None
        covered = [axis]
        while prod(parameter.shape[one] for one in covered) < size and covered[0] > 0:
            covered.insert(0, covered[0] - 1)
        axes.append(tuple(covered))
    return tuple(axes)


def _product(view: _View, bias: str, summed: tuple[int, ...], made: tuple[int, ...]) -> WeightUse | None:
    shape = view.tensor.shape
    into = tuple(axis for one in summed for axis in view.axes[one])
    out = tuple(axis for one in made for axis in view.axes[one])
    if not into or not out or set(into) & set(out):
        into, out = into or out, out or into
    if not out:
        return None
    return WeightUse(view.name, bias, prod(shape[one] for one in summed), prod(shape[one] for one in made), out, into)


def _convolved(view: _View, bias: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> WeightUse | None:
    transposed = name.startswith("conv_transpose")
    weight, inputs = view.tensor, _given(args, kwargs, 0, "input")
    number = weight.dim() - 2
    groups = _given(args, kwargs, 6, "groups", 1)
    stride = _several(_given(args, kwargs, 3, "stride", 1), number)
    dilation = _several(_given(args, kwargs, 7 if transposed else 5, "dilation", 1), number)
    extra = _several(_given(args, kwargs, 5, "output_padding", 0), number) if transposed else (0,) * number
    given = _given(args, kwargs, 4, "padding", 0)
    windows = []
    for axis in range(number):
        kernel = weight.shape[2 + axis]
        if given == "same":
            windows.append(Window.same(kernel, stride[axis], dilation[axis]))
        else:
            around = 0 if given == "valid" else _several(given, number)[axis]
            windows.append(Window(kernel, stride[axis], dilation[axis], around, around, extra[axis]))
    channels = (
        (weight.shape[0], weight.shape[1] * groups) if transposed else (weight.shape[1] * groups, weight.shape[0])
    )
    fan = convolution(channels, windows, groups, transposed=transposed, size=inputs.shape[-number:])
    axes = tuple(one[0] if one else index for index, one in enumerate(view.axes))
    out = 1 if transposed else 0
    into = tuple(axis for axis in axes if axis != axes[out])
    interior = convolution(channels, windows, groups, transposed=transposed).fan_in
    return WeightUse(view.name, bias, fan.fan_in, fan.fan_out, (axes[out],), into, interior)


def _given(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any = None) -> Any:
    return kwargs.get(name, args[position] if len(args) > position else default)


def _several(value: Any, number: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * number if len(values) == 1 else values


def module_use(module: nn.Module, name: str) -> WeightUse:
    """How a Linear or Conv module will use its weight."""
    prefix = f"{name}." if name else ""
    bias = f"{prefix}bias" if module.bias is not None else ""
    fan, axes = fans(module)["weight"], tuple(range(module.get_parameter("weight").dim()))
    out = 1 if getattr(module, "transposed", False) else 0
    return WeightUse(f"{prefix}weight", bias, fan.fan_in, fan.fan_out, (out,), axes[:out] + axes[out + 1 :])
