"""Tensors as NumPy arrays and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from wellposed.backends.torch.shards import whole_of
from wellposed.numerics.arrays import Array


def as_numpy(tensor: torch.Tensor, *, keep_dtype: bool = False) -> Array:
    """A copy in float64, or in the tensor's own dtype where NumPy has it."""
    return np.array(view(tensor), dtype=None if keep_dtype and tensor.dtype is not torch.bfloat16 else np.float64)


def view(tensor: torch.Tensor) -> Array:
    """The tensor's own memory where it lies on the CPU and NumPy has its dtype; all of one that lies in shards."""
    plain = whole_of(tensor.detach()).to("cpu")
    plain = plain.resolve_conj().resolve_neg() if plain.layout is torch.strided else plain.to_dense()
    found: Array = (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()
    return found


def describe(thing: Any) -> str:
    """What a user gave where something else is needed."""
    if isinstance(thing, torch.Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    return "None" if thing is None else f"a {type(thing).__name__}"
