"""A run in float64 whose every result, forward and backward, is rounded to a format: what rounding alone does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Rounding(TorchDispatchMode):
    """Within, what an operation computes in float64, and from, has only numbers that `dtype` has. With a seed each of
    them is moved by up to half a unit first, so that it is rounded otherwise than without.
    """

    def __init__(self, dtype: torch.dtype, seed: int | None = None) -> None:
        super().__init__()
        self._dtype, self._unit = dtype, torch.finfo(dtype).eps
        self._draw = None if seed is None else torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        aliases = [returned.alias_info for returned in func._schema.returns]
        if not any(aliases):  # what it reads may be a buffer, which a model in that format has rounded
            args, kwargs = tree_map(self._coarse, (args, kwargs or {}))
            return tree_map(self._rounded, func(*args, **kwargs))
        result = func(*args, **(kwargs or {}))
        if all(alias is not None and alias.is_write for alias in aliases):
            tree_map(self._round, result)
        return result  # a view of what is rounded already

    def _rounded(self, thing: Any) -> Any:
        return self._coarse(self._dithered(thing))

    def _coarse(self, thing: Any) -> Any:
        if not _is_double(thing):
            return thing
        coarse = thing.to(self._dtype).to(torch.float64)
        return torch.where(coarse.isfinite(), coarse, thing)  # a mask's largest number is no infinity

    def _dithered(self, thing: Any) -> Any:
        if self._draw is None or not _is_double(thing):
            return thing
        drawn = torch.rand(thing.shape, generator=self._draw, dtype=torch.float64).to(thing.device)
        return thing * (1 + self._unit * (drawn - 0.5))

    def _round(self, thing: Any) -> None:
        if _is_double(thing):
            thing.copy_(self._rounded(thing))


def _is_double(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and thing.dtype is torch.float64
