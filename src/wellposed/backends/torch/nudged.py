"""Tensors moved by a little, in the layout that they have."""

from __future__ import annotations

import torch

from wellposed.backends import variations
from wellposed.backends.ways import NUDGE

FORMATS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""In which gradients are computed, the coarsest first. What is kept in 8 bits is data, and stays as it is."""


def in_its_layout(value: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides, of what shares memory with itself too."""
    if value.layout is not torch.strided:
        return value.clone()
    return _viewed(value, _memory(value).clone())


def rounded(value: torch.Tensor, coarsest: torch.dtype) -> torch.Tensor:
    """Numbers that the coarsest format has, so that no way rounds them; what it has no place for stays."""
    if value.dtype not in FORMATS or value.layout is not torch.strided or value.dtype is coarsest:
        return value
    memory = _memory(value.detach())
    coarse = memory.to(coarsest).to(memory.dtype)
    return _viewed(value, torch.where(coarse.isfinite(), coarse, memory)).requires_grad_(value.requires_grad)


def nudged(value: torch.Tensor, step: float, coarsest: torch.dtype, point: int, place: int) -> torch.Tensor:
    """Each number moved by up to `NUDGE` relative steps, at random, to one that the coarsest format has; zeros stay."""
    if value.layout is not torch.strided or not (value.dtype in FORMATS or value.is_complex()):
        return value.clone()
    memory = _memory(value)
    draw = torch.Generator("cpu").manual_seed(7919 * point + place)
    factor = 1 + step * torch.randint(-NUDGE, NUDGE + 1, memory.shape, generator=draw, device="cpu").double()
    wide = torch.complex128 if memory.is_complex() else torch.float64
    moved = _viewed(value, (memory.to(wide) * factor.to(memory.device)).to(memory.dtype))
    return rounded(moved, coarsest)


def off_zero(value: torch.Tensor, point: int, place: int) -> torch.Tensor:
    """With its zeros moved to either side at random, by little: to see what a kink there does."""
    if value.layout is not torch.strided or not value.is_floating_point() or not value.numel():
        return value
    memory = _memory(value)
    moved = variations.off_zero(memory.double().cpu().numpy(), point, place)
    return _viewed(value, torch.from_numpy(moved).to(memory.device, memory.dtype))


def _memory(value: torch.Tensor) -> torch.Tensor:
    """What lies between its first number and its last."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True))
    return value.as_strided((span if value.numel() else 0,), (1,))


def _viewed(value: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    return memory.as_strided(value.shape, value.stride()) if value.numel() else torch.empty_like(value)
