"""A float64 copy that stays in float64: casts to float32 on the way are left out, and what is made in float32 is lifted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from wellposed.backends.torch.composed import Watcher

_DRAWN = {"rand", "randn", "rand_like", "randn_like"}
_DRAWN_FROM = {"normal", "bernoulli", "poisson"}
_DRAWN_INTO = {"normal_", "uniform_", "exponential_", "log_normal_", "cauchy_", "geometric_"}


class Wide(Watcher):
    """Within, what casts a float64 tensor to float32 returns it as it is. A cast is linear: no gradient is right or wrong by it.

    Random numbers are drawn in float32, as generators give others for float64, and lifted.
    """

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        double = isinstance(first, torch.Tensor) and first.dtype is torch.float64
        if double and (name == "float" or (name in ("to", "type") and _to_float32([*args[1:], *kwargs.values()]))):
            return first
        if double and name == "type_as" and args[1].dtype is torch.float32:
            return first
        if name in _DRAWN and kwargs.get("dtype") in (None, torch.float32, torch.float64):
            if kwargs.get("dtype") is None and name.endswith("_like") and not double:
                return function(*args, **kwargs)
            return function(*args, **{**kwargs, "dtype": torch.float32}).double()
        if name in _DRAWN_FROM and any(map(_is_double, (*args, *kwargs.values()))):
            return tree_map(_lifted, function(*tree_map(_lowered, args), **tree_map(_lowered, kwargs)))
        if name in _DRAWN_INTO and isinstance(first, torch.Tensor) and double:
            drawn = getattr(torch.empty(first.shape, dtype=torch.float32, device=first.device), name)(*args[1:], **kwargs)
            with torch.no_grad():
                return first.copy_(drawn)
        if kwargs.get("dtype") is torch.float32:
            kwargs = {**kwargs, "dtype": torch.float64}
        if any(map(_is_double, _flat(args))) or any(map(_is_double, _flat(tuple(kwargs.values())))):
            writes = name.endswith("_") and not name.endswith("__")
            args = (*args[:1], *tree_map(_lifted, args[1:])) if writes or double else tree_map(_lifted, args)
            kwargs = tree_map(_lifted, kwargs)
        if name in _SINGLE_ONLY and double:
            return _SINGLE_ONLY[name](*args, **kwargs)
        result = function(*args, **kwargs)
        return result if result is first else tree_map(_lifted, result)


def _grouped_mm(
    a: torch.Tensor, b: torch.Tensor, offs: torch.Tensor | None = None, bias: torch.Tensor | None = None, **_: Any
) -> torch.Tensor:
    """torch's grouped product, whose kernels take no float64: one product for each group, whose ends along a jagged side `offs` holds."""
    if offs is None:
        result = a @ b
    else:
        ends = offs.tolist()
        groups = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        if a.dim() == 2 and b.dim() == 2:
            result = torch.stack([a[:, group] @ b[group] for group in groups])
        elif a.dim() == 2:
            result = torch.cat([a[group] @ b[i] for i, group in enumerate(groups)] + [a.new_zeros(a.shape[0] - ends[-1], b.shape[-1])])
        else:
            result = torch.cat([a[i] @ b[:, group] for i, group in enumerate(groups)], dim=1)
    return result if bias is None else result + bias


_SINGLE_ONLY: dict[str, Callable[..., torch.Tensor]] = {"_grouped_mm": _grouped_mm, "grouped_mm": _grouped_mm}


def _flat(args: tuple[Any, ...]) -> list[Any]:
    return [part for arg in args for part in (arg if isinstance(arg, list | tuple) else (arg,))]


def _to_float32(asked: list[Any]) -> bool:
    return any(given is torch.float32 or (isinstance(given, torch.Tensor) and given.dtype is torch.float32) for given in asked)


def _is_double(thing: Any) -> bool:
    return isinstance(thing, torch.Tensor) and thing.dtype is torch.float64


def _lifted(thing: Any) -> Any:
    return thing.double() if isinstance(thing, torch.Tensor) and thing.dtype is torch.float32 else thing


def _lowered(thing: Any) -> Any:
    return thing.float() if _is_double(thing) else thing
