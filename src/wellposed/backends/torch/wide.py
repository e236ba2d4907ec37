"""A float64 copy that stays in float64: casts to float32 on the way, as of scores before a loss, are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Wide(TorchFunctionMode):
    """Within, what casts a float64 tensor to float32 returns it as it is. A cast is linear: no gradient is right or wrong by it."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, torch.Tensor) and first.dtype is torch.float64:
            name = getattr(function, "__name__", "")
            asked = [given for given in (*args[1:], *kwargs.values()) if given is torch.float32]
            if name == "float" or (name in ("to", "type") and asked):
                return first
            if kwargs.get("dtype") is torch.float32:
                kwargs = {**kwargs, "dtype": torch.float64}
        return function(*args, **kwargs)
