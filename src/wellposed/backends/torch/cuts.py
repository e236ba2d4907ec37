"""What cuts the graph of a run: detach, .data, no_grad; and the run without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wellposed.backends.torch.calls import module_names

_DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class Uncut(TorchFunctionMode):
    """Within `watching()`, detach returns the tensor itself and gradients stay on; `cuts` are those that would have cut a graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._within: list[str] = []
        self.cuts: dict[str, None] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        with module_names(self._model) as self._within, self:
            yield

    @property
    def said(self) -> str:
        return ", ".join(self.cuts)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name == "detach" and args[0].requires_grad:
            self._note("detach()")
            return args[0]
        if function == _DATA and args[0].requires_grad:
            self._note(".data")
            return args[0]
        if name == "_set_grad_enabled" and not args[0]:
            self._note("no_grad")
            return None
        return function(*args, **(kwargs or {}))

    def _note(self, what: str) -> None:
        where = self._within[-1] if self._within else ""
        self.cuts[f"{what} in `{where}`" if where else what] = None
