"""The numbers of a tensor of any layout, dense or sparse, real or complex, as one real vector and back."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch

from wellposed.numerics.arrays import Array, Vector

PLAIN = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8")


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    """The entries that are there."""
    if tensor.layout is torch.strided:
        return tensor
    return tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()


def dtype_of(tensor: torch.Tensor) -> str:
    real = tensor.dtype.to_real() if tensor.is_complex() else tensor.dtype
    return str(real).removeprefix("torch.")


def real_shape(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(values_of(tensor.detach()).shape) + ((2,) if tensor.is_complex() else ())


def numbers_of(tensor: torch.Tensor) -> Vector:
    values = values_of(tensor.detach()).resolve_conj().resolve_neg()
    real = torch.view_as_real(values) if values.is_complex() else values
    return np.array(real.cpu().double().numpy(force=True))


def rebuild_like(like: torch.Tensor, numbers: Array) -> torch.Tensor:
    """A tensor like the given one, with other numbers."""
    flat = torch.from_numpy(np.array(numbers))
    real = like.dtype.to_real() if like.is_complex() else like.dtype
    values = flat.to(dtype=real, device=like.device)
    values = torch.view_as_complex(values) if like.is_complex() else values
    if like.layout is torch.strided:
        return values if _plain(like) else copy_of(like).copy_(values)
    if like.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(like.detach().coalesce().indices(), values, like.shape, is_coalesced=True)
    rows = like.layout in (torch.sparse_csr, torch.sparse_bsr)
    compressed, plain = (like.crow_indices(), like.col_indices()) if rows else (like.ccol_indices(), like.row_indices())
    return torch.sparse_compressed_tensor(compressed, plain, values, like.shape, layout=like.layout)


def leaf_like(tensor: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A leaf with these values, a parameter where the tensor is one: the user's code may look for that."""
    return torch.nn.Parameter(values) if isinstance(tensor, torch.nn.Parameter) else values.requires_grad_()


def own_leaf(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided else leaf


def _plain(tensor: torch.Tensor) -> bool:
    """Whether the tensor is all of its memory, in order."""
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def copy_of(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the same strides, and with the memory around it that `as_strided` could reach."""
    if tensor.layout is not torch.strided or _plain(tensor) or 0 in tensor.stride():
        return tensor.detach().clone()
    memory = tensor.detach().untyped_storage().clone()
    return torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(
        memory, tensor.storage_offset(), tensor.shape, tensor.stride()
    )


def as_gradient(like: torch.Tensor, part: torch.Tensor) -> Vector:
    if like.layout is torch.strided:
        dense = part if part.layout is torch.strided else part.to_dense()
        return numbers_of(dense.expand_as(like)).reshape(real_shape(like))
    if part.layout is torch.strided:
        return numbers_of(
            part.sparse_mask(like.detach().coalesce() if like.layout is torch.sparse_coo else like.detach())
        )
    return numbers_of(
        part.coalesce().sparse_mask(like.detach().coalesce()) if like.layout is torch.sparse_coo else part
    )


def inner_product(output: torch.Tensor, cotangent: torch.Tensor) -> float:
    """Re <w, y> in float64: what `torch.autograd.grad` differentiates when it is given w."""
    if prod(output.shape) == 0:
        return 0.0
    if output.is_complex():
        return float((cotangent.conj().to(torch.complex128) * output.to(torch.complex128)).sum().real)
    product = cotangent.double() * output.double()
    return float((product if torch.isfinite(product).all() else torch.where(cotangent == 0, 0.0, product)).sum())
