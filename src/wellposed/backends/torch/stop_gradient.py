"""What cuts the graph of a run: detach, .data, no_grad; and the run without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from wellposed.backends.torch.tracing.calls import module_names
from wellposed.backends.torch.tracing.function_mode import Watcher

_DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_DIFFERENCES, _SUMS = ("sub", "__sub__", "subtract"), ("add", "__add__", "__radd__", "__iadd__")


class Through(Watcher):
    """Within `watching()`, detach returns the tensor itself and gradients stay on; `cuts` are those that would have cut
    a graph.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self._within: list[str] = []
        self.cuts: dict[str, None] = {}
        self._straight_through, self._only_in_the_loss = False, True
        self._differences: dict[
            int, tuple[torch.Tensor, Any]
        ] = {}  # of a difference a - b, by its identity: itself, and b

    @contextmanager
    def watching(self) -> Iterator[None]:
        with module_names(self._model) as self._within, self:
            yield

    @property
    def said(self) -> str:
        return ", ".join(self.cuts)

    @property
    def meant(self) -> bool:
        """Whether the cuts look deliberate: x + (q - x).detach(), whose value is q and whose slope that of x, or a
        detach in the loss.
        """
        return self._straight_through or self._only_in_the_loss

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name == "detach" and args[0].requires_grad:
            self._note("detach()")
            self._only_in_the_loss &= not self._within
            return args[0]
        if function == _DATA and args[0].requires_grad:
            self._note(".data")
            self._only_in_the_loss = False
            return args[0]
        if name == "_set_grad_enabled" and not args[0]:
            self._note("no_grad")
            self._only_in_the_loss &= not self._within
            return None
        result = self._called(function, args, kwargs)
        if name in _DIFFERENCES and len(args) > 1 and isinstance(result, torch.Tensor):
            self._differences[id(result)] = result, args[1]
        elif name in _SUMS and len(args) > 1:
            for one, other in (args[:2], args[1::-1]):
                difference, taken = self._differences.get(id(one), (None, None))
                self._straight_through |= difference is one and taken is other and isinstance(other, torch.Tensor)
        return result

    def _called(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What cannot take a tensor with a gradient, as NumPy cannot, gets it without."""
        try:
            return function(*args, **kwargs)
        except (RuntimeError, TypeError, NotImplementedError):
            given = [
                leaf
                for leaf in tree_flatten((args, kwargs))[0]
                if isinstance(leaf, torch.Tensor) and leaf.requires_grad
            ]
            if not given:
                raise
            plain, named = tree_map(
                lambda leaf: leaf.detach() if isinstance(leaf, torch.Tensor) else leaf, (args, kwargs)
            )
            with torch.no_grad():
                return function(*plain, **named)

    def _note(self, what: str) -> None:
        where = self._within[-1] if self._within else ""
        self.cuts[f"{what} in `{where}`" if where else what] = None
