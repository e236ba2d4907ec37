"""Other inputs for a function, of the same kind: cut, laid out otherwise, larger, masked. Each leaves what it does not
change as it is, and does not leave the domain that the inputs show: what has one sign keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from wellposed.backends.torch.nudged import FORMATS, in_its_layout
from wellposed.backends.ways import Variation

_LARGE, _SMALL = 100.0, 1e-6  # factors: exp overflows, squares vanish; float16 has no place for either


def cut(tensor: torch.Tensor, size: int, to: int) -> torch.Tensor:
    """With every axis of this size cut; laid out as it was."""
    made = tensor.detach()
    for axis, length in enumerate(tensor.shape):
        made = made.narrow(axis, 0, to) if length == size else made
    return in_its_layout(made).requires_grad_(tensor.requires_grad)


def about_size(leaves: Iterable[Any], size: int, to: int) -> bool:
    """Whether a whole number may be about an axis that is cut: a length, an offset, an index into it."""
    for leaf in leaves:
        if isinstance(leaf, int) and not isinstance(leaf, bool) and to <= leaf <= size:
            return True
        if isinstance(leaf, torch.Tensor) and _whole(leaf) and bool(((leaf >= to) & (leaf <= size)).any()):
            return True
    return False


def varied(tensor: torch.Tensor, variation: Variation) -> torch.Tensor:
    """The tensor itself where the variation does not concern it."""
    changed = _changed(tensor.detach(), variation, moved=tensor.requires_grad)
    return tensor if changed is None else changed.requires_grad_(tensor.requires_grad)


def _changed(value: torch.Tensor, variation: Variation, *, moved: bool) -> torch.Tensor | None:
    real = value.dtype in FORMATS
    if not value.numel():
        return None
    if variation in ("masked", "unmasked"):
        return _with_mask(value, on=variation == "unmasked") if not moved else None
    if variation == "repeated":
        return value.flatten().mode().values.expand(value.shape).clone() if _whole(value) and value.ndim else None
    if not moved or not real or variation == "summed":
        return None
    if variation == "not in one piece":
        return value.mT.contiguous().mT if value.ndim > 1 else torch.stack([value, value], -1)[..., 0]
    if variation == "broadcast":
        return value[:1].expand(value.shape) if value.ndim > 1 else None
    if variation == "zero rows":
        if value.ndim < 2 or len(value) < 2 or 0 in value.stride():
            return None
        made = in_its_layout(value)
        made[::2] = 0
        return made
    both_signs = bool((value < 0).any()) and bool((value > 0).any())
    factor = _LARGE if variation == "large" else _SMALL
    return in_its_layout(value) * factor if both_signs and value.dtype is not torch.float16 else None


def _with_mask(value: torch.Tensor, *, on: bool) -> torch.Tensor | None:
    """Of True and False, of 1 and 0, or of 0 and -inf to be added."""
    if value.dtype is torch.bool:
        return torch.full_like(value, on)
    if value.dtype not in FORMATS:
        return None
    low = float("-inf") if bool((value == float("-inf")).any()) else 0.0
    high = 0.0 if low else 1.0
    return torch.full_like(value, high if on else low) if bool(((value == low) | (value == high)).all()) else None


def _whole(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
