"""Functions that hand themselves over whole to whoever watches, and whose parts are to be seen instead."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode


def _seen_through(function: Any) -> FunctionType:
    """The function with its look for watchers answered by no."""
    inside = dict(function.__globals__, has_torch_function=lambda *_: False)
    through = FunctionType(function.__code__, inside, function.__name__, function.__defaults__, function.__closure__)
    through.__kwdefaults__ = function.__kwdefaults__
    return through


COMPOSED = {nn.functional.multi_head_attention_forward: _seen_through(nn.functional.multi_head_attention_forward)}


def seen_inside(mode: TorchFunctionMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call of a composed function that a mode was handed, with the mode watching what happens within."""

    class Again(TorchFunctionMode):
        def __torch_function__(self, inner: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return mode.__torch_function__(inner, types, args, kwargs)

    with Again():
        return COMPOSED[function](*args, **kwargs)
