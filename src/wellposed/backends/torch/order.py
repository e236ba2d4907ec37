"""Whether a model's outputs along a sequence know the order of its elements: positions are permuted."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.structure import Order
from wellposed.backends.torch.asked import Asked, Loss
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.sequences import Sequence, counts_examples, passed, sequences_in

_MOST_ROWS = 4096  # positions that a regression is made of
_ROWS_PER_NUMBER = 8  # of each number that it is made by, at least


def order_of(model: nn.Module, inputs: Any, targets: Any, loss: Loss) -> Order | None:
    """The model is left in evaluation mode."""
    candidates = list(sequences_in(inputs))
    if not candidates or len([one for one in tree_flatten(inputs)[0] if isinstance(one, torch.Tensor)]) != 1:
        return None
    asked = Asked(forward(model, inputs), targets, loss)
    model.eval()
    for sequence in candidates:
        before = passed(model, inputs, sequence) if asked.known else None
        if before is None or before.shape[1] != sequence.steps.shape[1]:
            continue
        if not counts_examples(model, inputs, sequence):
            continue
        conflicts = _conflicts(asked, sequence)
        if conflicts is None:
            return None
        places = torch.randperm(before.shape[1], generator=torch.Generator().manual_seed(0)).to(before.device)
        other = sequence.leaf.index_select(sequence.axes.positions, places)
        after = passed(model, sequence.replaced(inputs, other), sequence)
        if after is None:
            return None
        apart = float((after - before[:, places]).abs().max()) / (float(before.abs().max()) or 1.0)
        return Order(sequence.name, apart, conflicts)
    return None


def _conflicts(asked: Asked, sequence: Sequence) -> float | None:
    """The share of targets (of their variance, where they are numbers) that a function of the element alone cannot
    give, less what the elements beside it do not settle either.
    """
    steps = sequence.steps
    if sequence.tokens:
        found = asked.classes(sequence)
        if found is None:
            return None
        alone = _left([steps], *found)
        beside = _left([steps, steps.roll(1, 1), steps.roll(-1, 1)], *found)
        return max(alone - beside, 0.0)
    numbers = asked.numbers(sequence)
    if numbers is None:
        return None
    whole = steps if steps.dim() == 3 else steps[..., None]
    inner = slice(1, whole.shape[1] - 1)
    wanted = numbers[0][:, inner].flatten(0, 1)
    own = whole[:, inner].flatten(0, 1)
    near = torch.cat([whole[:, :-2], whole[:, 1:-1], whole[:, 2:]], -1).flatten(0, 1)
    return max(_explained(near, wanted) - _explained(own, wanted), 0.0)


def _explained(by: torch.Tensor, wanted: torch.Tensor) -> float:
    """The share of the variance that a linear function explains, less what chance would."""
    by, wanted = by[:_MOST_ROWS].double(), wanted[:_MOST_ROWS].double()
    rows, numbers = by.shape
    if rows < _ROWS_PER_NUMBER * numbers:
        return 0.0
    columns = torch.cat([by, torch.ones(rows, 1, dtype=by.dtype, device=by.device)], 1)
    left = wanted - columns @ torch.linalg.lstsq(columns, wanted).solution
    whole = float((wanted - wanted.mean(0)).square().sum())
    share = float(left.square().sum()) / whole * (rows - 1) / (rows - numbers - 1) if whole else 1.0
    return 1.0 - share


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
