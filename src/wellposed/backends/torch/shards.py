"""Tensors whose parts lie on several ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def in_shards(tensor: torch.Tensor) -> bool:
    """Whether it is a DTensor: torch imports the class only where it is asked for."""
    return hasattr(tensor, "placements")


def whole_of(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor whose parts lie on several ranks, which must all ask for it; the tensor itself where it does."""
    found: torch.Tensor = tensor.full_tensor() if in_shards(tensor) else tensor  # type: ignore[attr-defined]
    return found


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this rank holds of it, in its own memory."""
    part: torch.Tensor = tensor.to_local() if in_shards(tensor) else tensor  # type: ignore[attr-defined]
    return part


def spread_as(parameter: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Whole values, of which each rank takes the part that it has of the parameter."""
    values = values.to(dtype=parameter.dtype, device=parameter.device)
    if not in_shards(parameter):
        return values
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values, parameter.device_mesh, parameter.placements, src_data_rank=None)  # type: ignore[attr-defined]


@contextmanager
def shards_at(values: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    """Parameters in shards with other values within, each rank's own part of them."""
    parts = [(own_part(parameter).detach(), own_part(value).detach()) for parameter, value in values]
    kept = [mine.clone() for mine, _ in parts]
    try:
        for mine, value in parts:
            mine.copy_(value)
        yield
    finally:
        for (mine, _), bits in zip(parts, kept, strict=True):
            mine.copy_(bits)
