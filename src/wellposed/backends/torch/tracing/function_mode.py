"""A look at every torch function that is called, those included that hand themselves over whole to whoever watches."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def seen_through(function: Any) -> FunctionType:
    """The function with its look for watchers answered by no."""
    inside = dict(function.__globals__, has_torch_function=lambda *_: False, has_torch_function_unary=lambda *_: False)
    through = FunctionType(function.__code__, inside, function.__name__, function.__defaults__, function.__closure__)
    through.__kwdefaults__ = function.__kwdefaults__
    return through


_COMPOSED = {
    whole: seen_through(whole) for whole in (nn.functional.multi_head_attention_forward, nn.functional.gumbel_softmax)
}


_GATHERING = "torch.distributed."
"""Whose calls gather and reduce what lies in shards: they are no part of what the model computes."""
_BETWEEN = {
    "torch._ops", "torch.overrides", "torch.utils._contextlib", "torch.autograd.grad_mode", "torch.autograd.profiler"
}  # fmt: skip
"""Modules of torch's that pass a call on."""


def _gathers() -> bool:
    """Whether the call that a watcher is handed comes from there."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).startswith(_GATHERING)


class Watcher(TorchFunctionMode):
    """Enter it, and `watched` is called in place of every function; of a composed one in place of its parts."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _gathers():
            return self.gathering(function, args, kwargs)
        if function not in _COMPOSED:
            return self.watched(getattr(function, "__name__", ""), function, args, kwargs)
        with Again(self):
            return _COMPOSED[function](*args, **kwargs)

    def gathering(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call that is no part of the model is to return."""
        with torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call is to return."""
        raise NotImplementedError


class Again(TorchFunctionMode):
    """A watcher once more, within a call that it was handed."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self._watcher = watcher

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._watcher.__torch_function__(function, types, args, kwargs)
