"""Errors planted in a backward pass: the forward pass stays right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def _one_entry(gradient: torch.Tensor) -> torch.Tensor:
    """The entry in the middle of those that are not zero, 10 % too large."""
    flat = gradient.clone().reshape(-1)
    places = flat.detach().abs().nonzero().reshape(-1)
    if places.numel():
        flat[places[places.numel() // 2]] *= 1.1
    return flat.reshape(gradient.shape)


def _dropped_term(gradient: torch.Tensor) -> torch.Tensor:
    """The first half of the entries get nothing of what they should."""
    flat = gradient.clone().reshape(-1)
    flat[: (flat.numel() + 1) // 2] = 0
    return flat.reshape(gradient.shape)


ERRORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "scale 1.01": lambda g: 1.01 * g,
    "sign": lambda g: -g,
    "one entry, 10 %": _one_entry,
    "dropped term": _dropped_term,
    "zero": torch.zeros_like,
}


class _Planted(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, error: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        context.error = error
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        return context.error(gradients[0]), None


def planted(fn: Callable[..., Any], error: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    """fn whose gradient by its first argument has the error."""
    return lambda first, *rest: fn(_Planted.apply(first, error), *rest)
