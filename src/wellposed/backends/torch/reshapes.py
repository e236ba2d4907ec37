"""Views and reshapes that stand where axes should have been permuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from wellposed.backends.lines import find_caller, within_package
from wellposed.backends.structure.permuted import stands_for_a_permutation
from wellposed.backends.structure.shown import Reshape
from wellposed.backends.torch.tracing.function_mode import Watcher


class Reshapes(Watcher):
    """Enter it around a forward pass; of tensors of which an axis has as many places as the batch has examples."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows
        self.found: list[Reshape] = []

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        first = args[0] if args else None
        if name in ("view", "reshape") and isinstance(first, torch.Tensor) and isinstance(result, torch.Tensor):
            before, after = tuple(first.shape), tuple(result.shape)
            if self._rows in before and stands_for_a_permutation(before, after):
                line = "" if within_package("torch.nn.functional") else find_caller(("torch", "wellposed"))
                if line and all(line != one.line for one in self.found):
                    self.found.append(Reshape(line, before, after))
        return result


def reshapes_in(run: Callable[[], Any], rows: int) -> tuple[Reshape, ...]:
    watch = Reshapes(rows)
    with torch.no_grad(), watch:
        run()
    return tuple(watch.found)
