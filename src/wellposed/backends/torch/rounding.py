"""A run in float64 whose every result, forward and backward, is rounded to a format: what rounding alone does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Rounding(TorchDispatchMode):
    """Within, what an operation computes in float64 has only numbers that `dtype` has."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(aliases):
            return tree_map(self._rounded, result)
        if all(alias is not None and alias.is_write for alias in aliases):
            tree_map(self._round, result)
        return result  # a view of what is rounded already

    def _rounded(self, thing: Any) -> Any:
        if not isinstance(thing, torch.Tensor) or thing.dtype is not torch.float64:
            return thing
        coarse = thing.to(self._dtype).to(torch.float64)
        return torch.where(coarse.isfinite(), coarse, thing)  # a mask's largest number is no infinity

    def _round(self, thing: Any) -> None:
        if isinstance(thing, torch.Tensor) and thing.dtype is torch.float64:
            thing.copy_(self._rounded(thing))
