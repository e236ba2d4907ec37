"""The sizes of tensors, measured on their own device in few passes and one temporary copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from wellposed.backends.protocol import Flatness, ParameterSize, Signal
from wellposed.numerics.activations import Activation, flat_beyond
from wellposed.numerics.arrays import Vector

_WIDE = 1e150  # beyond it, or below its inverse, squares leave float64
_MOST_SCORES = 1 << 20


def signal(tensor: torch.Tensor) -> Signal:
    """As `protocol.signal_of`. Sums run in float64, differences between examples in the tensor's own dtype, where they are nearly exact."""
    with torch.no_grad():
        values = tensor.detach()
        if values.layout is not torch.strided:
            values = values.to_dense()
        if values.dtype in (torch.float16, torch.bfloat16):
            values = values.float()
        elif not values.is_floating_point():
            values = values.double() if not values.is_complex() else torch.view_as_real(values)
        flat = values.reshape(values.shape[0] if values.dim() else 1, -1)
        rows, entries = flat.shape[0], max(flat.numel(), 1)
        size = _norm(flat)
        scale = 1.0
        if values.dtype is torch.float64 and not 1 / _WIDE < float(size) < _WIDE and flat.numel():
            scale = float(flat.abs().max()) or 1.0
            flat = flat / scale
            size = _norm(flat)
        if not torch.isfinite(size):
            return Signal(float("nan"), float("nan"), float("nan"), False, rows=rows)
        mean_square = float(size) ** 2 / entries
        spread = float("nan")
        if rows > 1:
            # From the first example, so that a large common part takes no digits.
            apart = flat[1:] - flat[:1]
            total = _norm(apart) ** 2 - _norm(apart.sum(dim=0, dtype=torch.float64)) ** 2 / rows
            spread = max(float(total), 0.0) / entries
        zeros = 1 - float(torch.count_nonzero(flat)) / entries
        norm = (mean_square * entries / max(rows, 1)) ** 0.5 * scale
        return Signal(mean_square * scale * scale, spread * scale * scale, norm, True, zeros, rows)


def _norm(flat: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(flat, dtype=torch.float64)
    return norm


def flatness(z: torch.Tensor, phi: Activation, axis: int) -> Flatness | None:
    """Where phi is flat, of what goes into it; units lie along `axis`."""
    low, high = flat_beyond(phi)
    if low == -torch.inf and high == torch.inf:
        return None
    with torch.no_grad():
        values = z.detach()
        flat = values <= low if high == torch.inf else (values <= low) | (values >= high)
        units = flat.movedim(axis, 0).flatten(1).all(dim=1) if z.dim() > 1 else flat
        return Flatness(float(flat.sum()) / max(z.numel(), 1), float(units.double().mean()), units.numel(), low < 0 and high < torch.inf)


def parameter_size(parameter: torch.Tensor, gradient: torch.Tensor | None) -> ParameterSize:
    with torch.no_grad():
        values = parameter.detach()
        values = values if values.layout is torch.strided else values.to_dense()
        rms = float(_norm(values)) / max(values.numel(), 1) ** 0.5
        mean = float(values.sum(dtype=torch.float64)) / max(values.numel(), 1)
        slope = None
        if gradient is not None:
            dense = gradient.detach() if gradient.layout is torch.strided else gradient.detach().to_dense()
            slope = float(_norm(dense)) / max(dense.numel(), 1) ** 0.5
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


def attention_entropy(q: Any, k: Any, *, attn_mask: Any = None, is_causal: bool = False, scale: float | None = None) -> float | None:
    """That of the scores which scaled_dot_product_attention does not show, for the first example; None where there are too many."""
    if q.dim() < 3 or q.shape[-2] * k.shape[-2] * (q.shape[-3] if q.dim() > 3 else 1) > _MOST_SCORES:
        return None
    with torch.no_grad():
        q, k = q.detach()[:1].float(), k.detach()[:1].float()
        if q.shape[1:-2] != k.shape[1:-2]:  # grouped queries
            k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
        scores = q @ k.transpose(-2, -1) * (scale or q.shape[-1] ** -0.5)
        if is_causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1), -torch.inf)
        if isinstance(attn_mask, torch.Tensor):
            first = attn_mask[:1] if attn_mask.dim() == scores.dim() else attn_mask
            scores = scores.masked_fill(~first, -torch.inf) if first.dtype is torch.bool else scores + first
        return row_entropy(functional.softmax(scores, dim=-1).nan_to_num(0.0))


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
        twin = {name: p.detach().double().mean().reshape(1) for name, p in thing.named_parameters()}

        def module(z: Vector) -> Vector:
            with torch.no_grad():
                result: Vector = torch.func.functional_call(thing, twin, (torch.from_numpy(z.copy()),)).numpy()
                return result

        return module
    return elementwise(thing, (), {})
