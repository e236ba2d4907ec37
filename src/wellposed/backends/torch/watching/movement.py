"""What a step does to weights, on a sample of their entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan, nan, sqrt
from typing import Any, NamedTuple

import torch

_LOOKED_AT = 256  # entries that a hash is made of
_PLAIN = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)  # other classes may not show their numbers
_ENTRIES = 4096  # of each tensor, at most


class Movement(NamedTuple):
    """`moved` is the norm of the update over that of the weights, `unmoved` the share of entries with a gradient whose
    stored number stayed the same.
    """

    moved: float = nan
    unmoved: float = nan


class Sample:
    """Of the weights before a step, with which entries have a gradient."""

    def __init__(self, parameters: Sequence[torch.Tensor]) -> None:
        self._own = [p for p in parameters if p.grad is not None and not p.grad.is_sparse and p.numel()]
        self._before = [some_of(p.detach()).clone() for p in self._own]
        self._with = [some_of(p.grad.detach()) != 0 for p in self._own if p.grad is not None]

    def after(self) -> Movement:
        squares = update = 0.0
        idle = count = 0.0
        for parameter, before, has in zip(self._own, self._before, self._with, strict=True):
            now = some_of(parameter.detach())
            share = parameter.numel() / max(before.numel(), 1)
            squares += share * float(before.double().square().sum())
            update += share * float((now.double() - before.double()).square().sum())
            idle += share * float(((now == before) & has).sum())
            count += share * float(has.sum())
        return Movement(sqrt(update / squares) if squares else nan, idle / count if count else nan)


def some_of(tensor: torch.Tensor) -> torch.Tensor:
    """Entries from all over a tensor, the same ones each time."""
    flat = tensor.reshape(-1)
    return flat[:: flat.numel() // _ENTRIES | 1]  # an odd stride meets every column


def digest(tensor: torch.Tensor) -> int:
    """A hash of its shape and of entries from all over it."""
    if tensor.is_meta or tensor.is_nested or tensor.layout is not torch.strided or type(tensor) not in _PLAIN:
        return hash((str(tensor.layout), tensor.numel()))
    flat = tensor.detach().reshape(-1)
    some = flat[:: flat.numel() // _LOOKED_AT | 1].cpu()  # an odd stride meets every column of a table
    return hash((tuple(tensor.shape), (some.float() if some.is_floating_point() else some).numpy().tobytes()))


def eps_of(group: Mapping[str, Any]) -> float:
    """NaN where there is none, or several (Adafactor)."""
    eps = group.get("eps")
    return float(eps) if isinstance(eps, int | float) and eps else nan


def below_eps(optimizer: torch.optim.Optimizer) -> float:
    """The share of entries with a gradient whose root mean square, as Adam keeps it, is below its eps; NaN for another
    optimizer.
    """
    small = count = 0.0
    for group in optimizer.param_groups:
        eps = eps_of(group)
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if isnan(eps) or "exp_avg_sq" not in state or parameter.grad is None or parameter.grad.is_sparse:
                continue
            steps = float(state.get("step", 1) or 1)
            beta = group.get("betas", (0.9, 0.999))[1]
            beta = float(beta)
            root = (some_of(state["exp_avg_sq"]).double() / max(1 - beta**steps, 1e-30)).sqrt()
            has = root > 0
            share = parameter.numel() / max(root.numel(), 1)
            small += share * float((has & (root < eps)).sum())
            count += share * float(has.sum())
    return small / count if count else nan
