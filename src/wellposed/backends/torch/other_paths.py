"""A model and its loss as one module, and the same on another path: compiled, recomputed, in autocast, laid out
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import checkpoint as recomputing

from wellposed.backends.patches import Patches
from wellposed.backends.torch.copies import copy_together
from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.optimizer_paths import steps_on
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.backends.torch.ways import TorchWays
from wellposed.errors import InputError

_FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_ATTENTION = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
_GRID = 4  # dimensions of a batch of images
PATHS = (
    "compile", "checkpoint", "checkpoint:reentrant", "autocast", "autocast:float16", "channels-last", "bfloat16",
    "float16", "attention:math", "attention:flash", "attention:efficient", "attention:cudnn", "optimizer:foreach",
    "optimizer:fused",
)  # fmt: skip


class WithLoss(nn.Module):
    """A problem's loss as a module of its inputs and targets, on a path. `called` makes of the model what is called in
    its place.
    """

    def __init__(
        self,
        problem: TorchEvaluation,
        within: Callable[[nn.Module], AbstractContextManager[Any]],
        called: Callable[[nn.Module], Callable[..., Any]] = lambda model: model,
        *,
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """`change` makes the data of a copy's tensors; without it the model is the problem's own."""
        super().__init__()
        self.model, self._loss = problem.model, problem.loss
        if change is not None:
            self.model, self._loss = copy_together(problem.model, problem.loss, change=change)
        self._within, self._takes_model = within, problem.takes_model
        self._called = called

    def forward(self, *batch: Any) -> Any:
        calls: Any = self._called(self.model)
        with self._within(self.model):
            if self._takes_model:
                return self._loss(calls)
            inputs, targets = batch
            return self._loss(forward(calls, inputs), targets)


def plain(problem: TorchEvaluation) -> WithLoss:
    """The formulas as they stand: no attention is fused, nothing cast or recomputed."""
    return WithLoss(problem, _as_written)


def as_it_is(problem: TorchEvaluation) -> TorchWays:
    """The problem itself beside its formulas as they stand."""
    return TorchWays(plain(problem), WithLoss(problem, _nothing), data_of(problem), same_code=True)


def data_of(problem: TorchEvaluation) -> tuple[Any, ...]:
    """What a `WithLoss` is called on: nothing where the loss gets the model itself."""
    return () if problem.takes_model else tuple(problem.batch)


@contextmanager
def _as_written(model: nn.Module) -> Iterator[None]:
    with _PlainAttention(), torch.autocast(_device(model), enabled=False), _kept_whole():
        yield


class _PlainAttention(Watcher):
    """Attention by its formula, but for dropout, of which every kernel draws other numbers."""

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name != "scaled_dot_product_attention":
            return function(*args, **kwargs)
        drops = args[_DROPOUT] if len(args) > _DROPOUT else kwargs.get("dropout_p", 0.0)
        if drops:
            return function(*args, **kwargs)
        with sdpa_kernel(SDPBackend.MATH):
            made = function(*args, **kwargs)
        # Laid out as the fused kernels do, for dropout behind it fills its mask in the order of memory.
        return made.transpose(1, 2).contiguous().transpose(1, 2) if made.ndim == _GRID else made


_DROPOUT = 4  # its place among the arguments


@contextmanager
def _kept_whole() -> Iterator[None]:
    """Nothing is recomputed in the backward pass, whoever asks for it."""
    with Patches() as patches:
        patches.put(recomputing, "_checkpoint_without_reentrant_generator", lambda _own: _once)
        patches.put(recomputing, "CheckpointFunction", lambda _own: _Straight)
        yield


def _once(*_args: Any, **_named: Any) -> Iterator[None]:
    yield


class _Straight:
    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)


def ways_on(problem: TorchEvaluation, path: str) -> Callable[[], TorchWays]:
    """The problem's formulas beside a path. Raises `InputError` for a path that is not known."""
    if path not in PATHS:
        raise InputError(f"there is no path {path!r}", hint=f"known: {', '.join(PATHS)}")
    name, _, kind = path.partition(":")
    if name == "optimizer":
        return lambda: steps_on(problem, kind)
    return lambda: TorchWays(plain(problem), on_path(problem, path), data_of(problem))


def on_path(problem: TorchEvaluation, path: str) -> WithLoss:
    """The model itself where a path leaves its parameters as they are, else a copy."""
    name, _, kind = path.partition(":")
    if name == "compile":
        return WithLoss(problem, _nothing, cache(torch.compile))
    if name == "checkpoint":
        return WithLoss(problem, lambda m: _recomputed(m, reentrant=kind == "reentrant"))
    if name == "autocast":
        return WithLoss(problem, lambda m: torch.autocast(_device(m), _FORMATS[kind or "bfloat16"]))
    if name == "attention":
        return WithLoss(problem, lambda _m: sdpa_kernel(_ATTENTION[kind]))
    if name == "channels-last":
        return WithLoss(problem, _nothing, _last, change=_channels_last)
    return WithLoss(problem, _nothing, _in_format_of, change=partial(_cast, dtype=_FORMATS[name]))


def _channels_last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone(memory_format=torch.channels_last) if tensor.ndim == _GRID else tensor.clone()


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype, copy=True) if tensor.is_floating_point() else tensor.clone()


def _nothing(_model: nn.Module) -> AbstractContextManager[Any]:
    return nullcontext()


def _device(model: nn.Module) -> str:
    return next((p.device.type for p in model.parameters()), "cpu")


def _last(model: nn.Module) -> Callable[..., Any]:
    return _taking(model, lambda image: image.contiguous(memory_format=torch.channels_last), _is_image)


def _in_format_of(model: nn.Module) -> Callable[..., Any]:
    """Floating-point inputs are cast to what its parameters are in."""
    dtype = next(p.dtype for p in model.parameters())
    return _taking(model, lambda tensor: tensor.to(dtype), torch.Tensor.is_floating_point)


def _is_image(tensor: torch.Tensor) -> bool:
    return tensor.ndim == _GRID


def _taking(
    model: nn.Module, change: Callable[[torch.Tensor], torch.Tensor], which: Callable[[torch.Tensor], bool]
) -> Callable[..., Any]:
    def given(arg: Any) -> Any:
        return change(arg) if isinstance(arg, torch.Tensor) and which(arg) else arg

    return lambda *args, **named: model(*map(given, args), **{name: given(arg) for name, arg in named.items()})


@contextmanager
def _recomputed(model: nn.Module, *, reentrant: bool) -> Iterator[None]:
    """Its blocks forget what they compute, and compute it again in the backward pass."""
    blocks = _blocks(model)
    before = [vars(block).get("forward") for block in blocks]  # of this object alone, as wrappers set it
    for block in blocks:
        own = block.forward

        def forward(*args: Any, own: Callable[..., Any] = own, **named: Any) -> Any:
            if reentrant:  # it hands on no arguments by name
                return recomputing.checkpoint(partial(own, **named), *args, use_reentrant=True)
            return recomputing.checkpoint(own, *args, use_reentrant=False, **named)

        block.forward = forward
    try:
        yield
    finally:
        for block, one in zip(blocks, before, strict=True):
            del block.forward
            if one is not None:
                block.forward = one


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The members of its longest list of modules with parameters; where there is none its children."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList | nn.Sequential)]
    longest = max(lists, key=len, default=None)
    children = list(longest.children()) if longest is not None else list(model.children())
    return [child for child in children if not isinstance(child, nn.ModuleList)] or [model]
