"""The sizes of tensors, measured on their own device in few passes and one temporary copy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from wellposed.backends.measured import Flatness, ParameterSize, Signal
from wellposed.backends.torch.shards import whole_of
from wellposed.numerics.activations import Activation, flat_beyond, saturates
from wellposed.numerics.arrays import Vector

_SQUARES_IN_RANGE = 1e150  # beyond it, or below its inverse, squares leave float64
_BLOCK = 1 << 20
_NARROW = (torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
SEQUENCES = 3
"""Axes of a batch of sequences [N, T, D]; images and heads have one more."""
_MOST_SCORES = 1 << 20


def signal(tensor: torch.Tensor) -> Signal:
    """As `protocol.signal_of`. Sums run in float64, differences between examples in the tensor's own dtype, where they
    are nearly exact.

    In blocks of columns, so that what is made on the way stays small and in the cache.
    """
    with torch.no_grad():
        values = tensor.detach()
        if values.is_nested:
            values = torch.cat([part.reshape(-1) for part in values.unbind()])[None]
        values = _dense(values)
        if values.is_complex():
            values = torch.view_as_real(values.resolve_conj())
        if not values.numel():
            return Signal(0.0, float("nan"), 0.0, True, rows=values.shape[0] if values.dim() else 1)
        flat = values.reshape(values.shape[0] if values.dim() else 1, -1)
        rows, columns = flat.shape
        entries = flat.numel()
        squares, spread, zeros = _sums(flat, 1.0)
        scale = 1.0
        if values.dtype is torch.float64 and not 1 / _SQUARES_IN_RANGE < squares**0.5 < _SQUARES_IN_RANGE:
            scale = float(flat.abs().max()) or 1.0
            squares, spread, zeros = _sums(flat, scale)
        if not isfinite(squares):
            return Signal(float("nan"), float("nan"), float("nan"), False, rows=rows)
        mean_square = squares / entries
        norm = (mean_square * columns) ** 0.5 * scale
        spread = max(spread, 0.0) / entries if rows > 1 else float("nan")
        return Signal(mean_square * scale * scale, spread * scale * scale, norm, True, zeros / entries, rows)


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _sums(flat: torch.Tensor, scale: float) -> tuple[float, float, int]:
    """Of a matrix over `scale`: the sum of squares, the sum of squares about the mean of each column, and how many
    entries are zero.
    """
    rows, columns = flat.shape
    width = max(_BLOCK // rows, 1)
    squares = spread = torch.zeros((), dtype=torch.float64, device=flat.device)
    zeros = torch.zeros((), dtype=torch.int64, device=flat.device)
    for start in range(0, columns, width):
        block = flat[:, start : start + width]
        zeros = zeros + (block.numel() - torch.count_nonzero(block))
        block = block.float() if block.dtype in _NARROW else block / scale if scale != 1 else block
        squares = squares + _square(block)
        if rows > 1:
            # From the first example, so that a large common part takes no digits.
            apart = block[1:] - block[:1]
            spread = spread + _square(apart) - _square(apart.sum(dim=0, dtype=torch.float64)) / rows
    return float(squares), float(spread), int(zeros)


def _square(block: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(block, dtype=torch.float64)
    return norm.square()


def _norm(flat: torch.Tensor) -> float:
    """In float64, by blocks."""
    line = flat.reshape(-1)
    line = line.float() if line.dtype in _NARROW else line
    return sqrt(float(sum(_square(line[start : start + _BLOCK]) for start in range(0, line.numel(), _BLOCK))))


def flatness(z: torch.Tensor, phi: Activation, axis: int) -> Flatness | None:
    """Where phi is flat, of what goes into it; units lie along `axis`."""
    low, high = flat_beyond(phi)
    if low == -torch.inf and high == torch.inf:
        return None
    with torch.no_grad():
        values = z.detach()
        if not values.numel():
            return None
        flat = values <= low if high == torch.inf else (values <= low) | (values >= high)
        units = flat.movedim(axis, 0).flatten(1).all(dim=1) if z.dim() > 1 else flat
        return Flatness(
            float(flat.sum()) / z.numel(), float(units.double().mean()), units.numel(), saturates(low, high)
        )


def root_mean_square(tensor: torch.Tensor) -> float:
    """In float64, in one pass."""
    with torch.no_grad():
        values = tensor.detach()
        values = values.float() if values.dtype in _NARROW else values
        norm: torch.Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
        return float(norm) / sqrt(max(values.numel(), 1))


def parameter_size(parameter: torch.Tensor, gradient: torch.Tensor | None) -> ParameterSize:
    with torch.no_grad():
        values = _dense(whole_of(parameter.detach()))
        rms = _norm(values) / max(values.numel(), 1) ** 0.5
        mean = float(values.mean()) if values.numel() else 0.0
        slope = None
        if gradient is not None:
            dense = _dense(whole_of(gradient.detach()))
            slope = _norm(dense) / max(dense.numel(), 1) ** 0.5
    return ParameterSize(rms, max(rms * rms - mean * mean, 0.0) ** 0.5, slope)


def row_entropy(weights: torch.Tensor) -> float | None:
    """The mean entropy of rows of attention weights over that of the uniform distribution; None for rows of one."""
    with torch.no_grad():
        p = weights.detach()[:1].float()
        if p.dim() < 2 or p.shape[-1] < 2:
            return None
        support = (p > 0).sum(dim=-1)
        entropy = -(p * p.clamp_min(1e-38).log()).sum(dim=-1)
        kept = support > 1
        if not bool(kept.any()):
            return None
        return float((entropy[kept] / support[kept].float().log()).mean())


def attention_entropy(
    q: torch.Tensor, k: torch.Tensor, mask: Any = None, causal: bool = False, scale: float | None = None
) -> float | None:
    """That of the scores which scaled_dot_product_attention does not show, for the first example; None where there are
    too many.
    """
    if q.dim() < SEQUENCES or q.shape[-2] * k.shape[-2] * (q.shape[-3] if q.dim() > SEQUENCES else 1) > _MOST_SCORES:
        return None
    try:
        with torch.no_grad():
            return row_entropy(_attention(q.detach()[:1].float(), k.detach()[:1].float(), mask, causal, scale))
    except RuntimeError:  # shapes that only the fused kernel knows how to join
        return None


def _attention(q: torch.Tensor, k: torch.Tensor, mask: Any, causal: bool, scale: float | None) -> torch.Tensor:
    if q.shape[1:-2] != k.shape[1:-2]:  # grouped queries
        k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    scores = q @ k.transpose(-2, -1) * (scale or q.shape[-1] ** -0.5)
    if causal:
        scores = scores.masked_fill(
            torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1), -torch.inf
        )
    if isinstance(mask, torch.Tensor):
        first = mask[:1] if mask.dim() == scores.dim() else mask
        scores = scores.masked_fill(~first, -torch.inf) if first.dtype is torch.bool else scores + first
    return functional.softmax(scores, dim=-1).nan_to_num(0.0)


def elementwise(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    """The activation as a function of a float64 array, its own parameters (a PReLU's slope) averaged."""

    def plain(thing: Any) -> Any:
        return thing.detach().double().mean().reshape(1) if isinstance(thing, torch.Tensor) else thing

    rest = [plain(argument) for argument in args[1:]]
    named = {key: plain(argument) for key, argument in kwargs.items() if key != "input"}
    if "inplace" in named:
        named["inplace"] = False

    def phi(z: Vector) -> Vector:
        with torch.no_grad():
            result: Vector = function(torch.from_numpy(z.copy()), *rest, **named).numpy()
            return result

    return phi


def activation_of(thing: Any) -> Activation:
    """A torch function or module as a function of a float64 array."""
    if isinstance(thing, nn.Module):
        if thing.training:
            thing = copy.deepcopy(thing).eval()  # RReLU draws its slopes in training
        twin = {name: p.detach().double().mean().reshape(1) for name, p in thing.named_parameters()}

        def module(z: Vector) -> Vector:
            with torch.no_grad():
                result: Vector = torch.func.functional_call(thing, twin, (torch.from_numpy(z.copy()),)).numpy()
                return result

        return module
    return elementwise(thing, (), {})
