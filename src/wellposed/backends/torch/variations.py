"""Other inputs for a torch function: cut, laid out otherwise, of other values. Each leaves what it does not change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from wellposed.backends import variations
from wellposed.backends.torch.nudged import FORMATS, in_its_layout
from wellposed.backends.ways import Variation

_OUT_OF_PLACE = ("large", "small")  # factors that float16 has no place for


def cut(tensor: torch.Tensor, size: int, to: int) -> torch.Tensor:
    """With every axis of this size cut; laid out as it was."""
    made = tensor.detach()
    for axis, length in enumerate(tensor.shape):
        made = made.narrow(axis, 0, to) if length == size else made
    return in_its_layout(made).requires_grad_(tensor.requires_grad)


def stays(cut: Iterable[Any], whole: Iterable[Any]) -> bool:
    """Whether data that are not differentiated by are of their kind still."""
    for part, all_of_it in zip(cut, whole, strict=True):
        if isinstance(part, torch.Tensor) and not part.requires_grad and part.layout is torch.strided:
            values = [one.detach().double().cpu().numpy() for one in (part, all_of_it)]
            if not variations.is_of_its_kind(values[0], values[1]):
                return False
    return True


def about_size(leaves: Iterable[Any], size: int, to: int) -> bool:
    """Whether a whole number may be about an axis that is cut: a length, an offset, an index into it."""
    whole = [leaf.cpu().numpy() for leaf in leaves if isinstance(leaf, torch.Tensor) and _whole(leaf)]
    plain = [leaf for leaf in leaves if isinstance(leaf, int) and not isinstance(leaf, bool)]
    return variations.about_size([*whole, *plain], size, to)


def varied(tensor: torch.Tensor, variation: Variation) -> torch.Tensor:
    """The tensor itself where the variation does not concern it."""
    changed = _changed(tensor.detach(), variation, moved=tensor.requires_grad)
    return tensor if changed is None else changed.requires_grad_(tensor.requires_grad)


def _changed(value: torch.Tensor, variation: Variation, *, moved: bool) -> torch.Tensor | None:
    real = value.dtype in FORMATS
    if not (real or _whole(value) or value.dtype is torch.bool) or not value.numel():
        return None
    if variation in ("not in one piece", "broadcast"):
        return _laid_out(value, variation) if moved else None
    if 0 in value.stride() or (value.dtype is torch.float16 and variation in _OUT_OF_PLACE):
        return None
    made = variations.varied((value.double() if real else value).cpu().numpy(), variation, moved=moved)
    return None if made is None else in_its_layout(value).copy_(torch.from_numpy(made))


def _laid_out(value: torch.Tensor, variation: Variation) -> torch.Tensor | None:
    if variation == "broadcast":
        return value[:1].expand(value.shape) if value.ndim > 1 else None
    return value.mT.contiguous().mT if value.ndim > 1 else torch.stack([value, value], -1)[..., 0]


def _whole(tensor: torch.Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
