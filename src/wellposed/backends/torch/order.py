"""Whether a model's outputs along a sequence know the order of its elements: positions are permuted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from wellposed.backends.measured import Order
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.sequences import Asked, along_the_sequence, sequences_in
from wellposed.backends.torch.state import torch_generators


def order_of(model: nn.Module, inputs: Any, loss: Callable[[Any], torch.Tensor]) -> Order | None:
    """`loss` is a function of the model's outputs. The model is left in evaluation mode."""
    named = sequences_in(inputs)
    leaves = [one for one in tree_flatten(inputs)[0] if isinstance(one, torch.Tensor)]
    if len(named) != 1 or len(leaves) != 1:
        return None
    ((name, leaf),) = named
    if leaf.dim() != 2 or leaf.is_floating_point():
        return None
    used = Asked(forward(model, inputs), loss).classes(leaf)
    if used is None or used[0].shape[1] != leaf.shape[1]:
        return None
    model.eval()
    places = torch.randperm(leaf.shape[1], generator=torch.Generator().manual_seed(0)).to(leaf.device)
    before, after = _passed(model, inputs, leaf), _passed(model, tree_map(lambda one: one[:, places], inputs), leaf)
    if before is None or after is None:
        return None
    apart = float((after - before[:, places]).abs().max()) / (float(before.abs().max()) or 1.0)
    return Order(name, apart, _conflicts(leaf, *used))


def _passed(model: nn.Module, inputs: Any, leaf: torch.Tensor) -> torch.Tensor | None:
    random = Randomness(*torch_generators())
    with torch.no_grad(), random.fixed():
        made = forward(model, inputs)
    for one in tree_flatten(made)[0]:
        if isinstance(one, torch.Tensor) and one.is_floating_point() and one.dim() >= 2:
            return along_the_sequence(one.double(), leaf.shape, 1)
    return None


def _conflicts(tokens: torch.Tensor, used: torch.Tensor, valid: torch.Tensor) -> float:
    """The share of positions that a function of the element and of the set of all cannot get right, less what the
    elements beside it do not settle either.
    """
    alone = _left([tokens], used, valid)
    beside = _left([tokens, tokens.roll(1, 1), tokens.roll(-1, 1)], used, valid)
    return max(alone - beside, 0.0)


def _left(keys: list[torch.Tensor], used: torch.Tensor, valid: torch.Tensor) -> float:
    rows = torch.arange(len(used), device=used.device)[:, None].expand_as(used)
    known = torch.stack([rows, *keys], -1)[valid]
    if not len(known):
        return 0.0
    classes = torch.cat([known, used[valid][:, None]], -1)
    _, group = known.unique(dim=0, return_inverse=True)
    pairs, counts = classes.unique(dim=0, return_counts=True)
    _, of_pair = pairs[:, :-1].unique(dim=0, return_inverse=True)
    most = torch.zeros(int(group.max()) + 1, dtype=counts.dtype, device=counts.device)
    most.scatter_reduce_(0, of_pair, counts, "amax")
    return 1 - float(most.sum()) / len(known)
