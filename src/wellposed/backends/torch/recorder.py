"""One forward pass, every operation seen, and the gradient of each as the backward pass brings it.

A function mode sees functional and modular style alike. A tensor is recognised by identity: who
made it is who its reader came after, so what follows a layer is read off the run itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from wellposed.backends.protocol import LossCall, Operation, OperationKind, Signal, WeightUse
from wellposed.backends.torch.losses import loss_call
from wellposed.numerics.activations import Activation
from wellposed.numerics.arrays import Vector

_WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
_PRODUCTS = {"matmul", "mm", "__matmul__", "addmm"}
_NORMS = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
}  # fmt: skip
_ACTIVATIONS = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "elu", "elu_", "selu", "selu_", "celu", "celu_",
    "gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "hardtanh_", "sigmoid", "sigmoid_", "tanh",
    "tanh_", "softplus", "softsign", "logsigmoid", "tanhshrink", "softshrink", "hardshrink", "threshold", "sin", "cos",
}  # fmt: skip
_SUMS = {"add", "add_", "__add__", "__iadd__", "__radd__", "sub", "__sub__", "sub_"}
_NOTHING = Signal(0.0, 0.0, 0.0, True)
_TRANSPOSES = {"t", "transpose", "permute", "__get__", "swapaxes"}


@dataclass
class _Made:
    """A tensor made during the run: the operations it came from. The tensor is held so that its identity stays its own."""

    tensor: torch.Tensor
    sources: tuple[int, ...]


class Recorder(TorchFunctionMode):
    """Enter it around the loss; after the backward pass `operations()` holds what was seen."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.loss_call: LossCall | None = None
        self._operations: list[Operation] = []
        self._gradients: dict[int, Signal] = {}
        self._trained: set[int] = set()
        self._made: dict[int, _Made] = {}
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._turned: dict[int, tuple[str, torch.Tensor]] = {}  # transposed views of parameters
        self._modules = {id(module): name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Recorder:
        everywhere = torch.nn.modules.module
        self._handles = [
            everywhere.register_module_forward_pre_hook(self._enter_module),
            everywhere.register_module_forward_hook(self._leave_module, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for handle in self._handles:
            handle.remove()

    def operations(self) -> tuple[Operation, ...]:
        return tuple(
            replace(operation, gradient=self._gradients.get(index, _NOTHING) if index in self._trained else None)
            for index, operation in enumerate(self._operations)
        )

    def _enter_module(self, module: nn.Module, _arguments: Any) -> None:
        self._stack.append(self._modules.get(id(module), ""))

    def _leave_module(self, _module: nn.Module, _arguments: Any, _result: Any) -> None:
        if self._stack:
            self._stack.pop()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        sources = self._sources(tensors)
        weight, turned = self._weight(name, args, kwargs)
        before = None
        if tensors and (name in _WEIGHTED or weight):
            before = _signal(tensors[0])
        if name in _ACTIVATIONS:
            arguments = args, dict(kwargs)
        seen = loss_call(name, args, kwargs)
        if seen is not None:
            self.loss_call = seen
        result = function(*args, **kwargs)
        if not isinstance(result, torch.Tensor):
            for leaf in tree_flatten(result)[0]:
                if isinstance(leaf, torch.Tensor) and sources:
                    self._made[id(leaf)] = _Made(leaf, sources)
            return result
        if name in _TRANSPOSES and tensors and id(tensors[0]) in self._names and result.dim() == 2:
            self._turned[id(result)] = (self._names[id(tensors[0])], result)
        elif name in _WEIGHTED or weight:
            use = self._use(name, weight, turned, args, kwargs)
            kind: OperationKind = "conv" if name.startswith("conv") else "linear"
            self._record(kind, name, sources, result, use=use, source=before)
        elif name in _NORMS:
            self._record("norm", name, sources, result)
        elif name in _ACTIVATIONS and sources:
            self._record("activation", name, sources, result, activation=_elementwise(function, *arguments))
        elif name == "embedding":
            self._record("other", name, sources, result)
        elif len(sources) > 1:
            self._record("add" if name in _SUMS else "other", name, sources, result)
        elif sources:
            self._made[id(result)] = _Made(result, sources)
        return result

    def _sources(self, tensors: list[torch.Tensor]) -> tuple[int, ...]:
        found: dict[int, None] = {}
        for tensor in tensors:
            made = self._made.get(id(tensor))
            if made is not None and made.tensor is tensor:
                found.update(dict.fromkeys(made.sources))
        return tuple(found)

    def _weight(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, bool]:
        """The parameter that multiplies, and whether its outputs lie along the last axis."""
        if name in _WEIGHTED:
            given = kwargs.get("weight", args[1] if len(args) > 1 else None)
            parameter, view = self._names.get(id(given), ""), self._turned.get(id(given))
            return (view[0], True) if view else (parameter, False)
        if name in _PRODUCTS:
            factors = args[1:] if name == "addmm" else args
            given = factors[1] if len(factors) > 1 else None
            if isinstance(given, torch.Tensor) and given.dim() == 2:
                view = self._turned.get(id(given))
                return (view[0], False) if view else (self._names.get(id(given), ""), True)
        return "", False

    def _use(self, name: str, weight: str, turned: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> WeightUse | None:
        if not weight:
            return None
        given = args[2] if name == "addmm" else kwargs.get("weight", args[1] if len(args) > 1 else None)
        assert isinstance(given, torch.Tensor)
        shape = tuple(given.shape)
        bias = kwargs.get("bias", args[2] if name in _WEIGHTED and len(args) > 2 else None)
        bias = args[0] if name == "addmm" else bias
        bias_name = self._names.get(id(bias), "")
        if name in _PRODUCTS:
            return WeightUse(weight, bias_name, shape[0], shape[1], 1 if turned else 0)
        if name == "linear":
            return WeightUse(weight, bias_name, shape[1], shape[0], 1 if turned else 0)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        stride = kwargs.get("stride", args[3] if len(args) > 3 else 1)
        return _convolution(weight, bias_name, shape, name.startswith("conv_transpose"), groups, stride)

    def _record(
        self,
        kind: OperationKind,
        function: str,
        sources: tuple[int, ...],
        result: torch.Tensor,
        *,
        use: WeightUse | None = None,
        activation: Activation | None = None,
        source: Signal | None = None,
    ) -> None:
        index = len(self._operations)
        module = self._stack[-1] if self._stack else ""
        owner = use.name.rpartition(".")[0] or use.name if use else module
        name = owner or module or function
        self._operations.append(Operation(name, kind, function, sources, _signal(result), None, use, activation, source))
        self._made[id(result)] = _Made(result, (index,))
        if result.requires_grad:
            self._trained.add(index)
            # Registered before any in-place change, so it brings the gradient of the value seen here.
            result.register_hook(lambda gradient: self._gradients.__setitem__(index, _signal(gradient)))


def _convolution(weight: str, bias: str, shape: tuple[int, ...], transposed: bool, groups: int, stride: int | tuple[int, ...]) -> WeightUse:
    """Fans of a convolution: fan_in = (C_in / g) prod(k), over prod(s) where it is transposed, and fan_out the other way round."""
    receptive = prod(shape[2:])
    strides = prod(stride) if isinstance(stride, tuple | list) else stride ** len(shape[2:])
    if transposed:  # weight [C_in, C_out / g, k...]: each output is reached by prod(k) / prod(s) of the kernel's entries
        return WeightUse(weight, bias, shape[0] // groups * receptive / strides, shape[1] * receptive, 1)
    return WeightUse(weight, bias, shape[1] * receptive, shape[0] // groups * receptive / strides, 0)


def module_use(module: nn.Module, name: str) -> WeightUse:
    """How a Linear or Conv module uses its weight."""
    prefix = f"{name}." if name else ""
    bias = f"{prefix}bias" if module.bias is not None else ""
    assert isinstance(module.weight, torch.Tensor)
    shape = tuple(module.weight.shape)
    if isinstance(module, nn.modules.conv._ConvNd):
        return _convolution(f"{prefix}weight", bias, shape, module.transposed, module.groups, module.stride)
    return WeightUse(f"{prefix}weight", bias, shape[1], shape[0], 0)


def _signal(tensor: torch.Tensor) -> Signal:
    """As `protocol.signal_of`, on the tensor's own device."""
    with torch.no_grad():
        values = tensor.detach()
        if values.layout is not torch.strided:
            values = values.to_dense()
        flat = values.double().reshape(values.shape[0] if values.dim() else 1, -1)
        if not bool(torch.isfinite(flat).all()):
            return Signal(float("nan"), float("nan"), float("nan"), False)
        scale = (float(flat.abs().max()) if flat.numel() else 0.0) or 1.0
        flat = flat / scale
        mean_square = float(flat.square().mean()) if flat.numel() else 0.0
        spread = float(flat.var(dim=0, correction=0).mean()) if flat.shape[0] > 1 else float("nan")
        norm = (mean_square * flat.shape[1]) ** 0.5 * scale
        return Signal(mean_square * (scale * scale), spread * (scale * scale), norm, True)


def _elementwise(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    """The activation as a function of a float64 array, its own parameters (a PReLU's slope) averaged."""

    def plain(thing: Any) -> Any:
        return thing.detach().double().mean().reshape(1) if isinstance(thing, torch.Tensor) else thing

    rest = [plain(argument) for argument in args[1:]]
    named = {key: plain(argument) for key, argument in kwargs.items() if key != "input"}
    if "inplace" in named:
        named["inplace"] = False

    def phi(z: Vector) -> Vector:
        with torch.no_grad():
            result: Vector = function(torch.from_numpy(z.copy()), *rest, **named).numpy()
            return result

    return phi


def activation_of(thing: Any) -> Activation:
    """A torch function or module as a function of a float64 array."""
    if isinstance(thing, nn.Module):
        twin = {name: p.detach().double().mean().reshape(1) for name, p in thing.named_parameters()}

        def module(z: Vector) -> Vector:
            with torch.no_grad():
                result: Vector = torch.func.functional_call(thing, twin, (torch.from_numpy(z.copy()),)).numpy()
                return result

        return module
    return _elementwise(thing, (), {})


__all__ = ["Recorder", "activation_of", "module_use"]
