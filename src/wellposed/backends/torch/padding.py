"""What the padded positions of a batch do: where they lie is told by a mask or lengths among the inputs, else by the
data.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map

from wellposed.backends.structure import Padding
from wellposed.backends.torch.asked import Asked, Loss
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.sequences import Axes, Sequence, real_outputs

_LEAST_SHARE = 0.03  # of all positions
_FEWEST_TAILS, _MANY_TAILS = 2, 0.25  # examples that end in padding, and share of all; of two lengths at least
_INSIDE = 0.01  # share of the positions before, up to which what fills the ends is no usual number
_STAYS = 0.5  # of the positions that are no padding: what repeats as often is no sequence of elements
_LOOKED_AT = 4  # examples whose padding is cut off


def padding_of(model: nn.Module, inputs: Any, targets: Any, loss: Loss) -> Padding | None:
    """The model is left in evaluation mode."""
    found = _found(inputs)
    if found is None:
        return None
    name, leaf, padded, known_by = found
    empty = int(padded.all(1).sum())
    asked = Asked(forward(model, inputs), targets, loss)
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    slope = Sequence(name, leaf, Axes(0, 1)).aligned(asked.slope) if asked.known else None
    in_loss = float("nan")
    if slope is not None:
        sent = slope.abs().sum(-1)
        in_loss = float(sent[padded[:, : sent.shape[1]]].sum() / sent.sum()) if bool(sent.any()) else float("nan")
    model.eval()
    moves, real_moves = _moves(model, inputs, leaf, padded) if known_by else (float("nan"), float("nan"))
    cut = _cut(model, inputs, leaf, padded)
    share = float(padded.double().mean())
    return Padding(name, known_by, share, in_loss, moves, real_moves, cut, recurrent, empty)


def _found(inputs: Any) -> tuple[str, torch.Tensor, torch.Tensor, str] | None:
    """The sequence, where it is padded, and what among the inputs tells of that."""
    named = [
        (f"inputs{keystr(path)}", leaf)
        for path, leaf in tree_flatten_with_path(inputs)[0]
        if isinstance(leaf, torch.Tensor) and leaf.dim() >= 2 and min(leaf.shape[:2]) >= 2 and not leaf.is_complex()
    ]
    masks = [(name, leaf) for name, leaf in named if leaf.dim() == 2 and _two_valued(leaf)]
    sequences = [(n, leaf) for n, leaf in named if all(leaf is not mask for _, mask in masks) and leaf.dim() in (2, 3)]
    lengths = [
        (f"inputs{keystr(path)}", leaf)
        for path, leaf in tree_flatten_with_path(inputs)[0]
        if isinstance(leaf, torch.Tensor) and leaf.dim() == 1 and not leaf.is_floating_point()
    ]
    for name, leaf in sequences:
        rows, steps = leaf.shape[:2]
        for known_by, mask in masks:
            if mask.shape != leaf.shape[:2]:
                continue
            for padded in (mask == 0, mask != 0):
                if _all_one(leaf, padded) and not _all_one(leaf, ~padded) and _ends(padded):
                    return name, leaf, padded, known_by
        for known_by, numbers in lengths:
            if len(numbers) == rows and 1 <= int(numbers.min()) < int(numbers.max()) <= steps:
                padded = torch.arange(steps, device=leaf.device)[None] >= numbers.to(leaf.device)[:, None]
                if _all_one(leaf, padded) and not _all_one(leaf, ~padded):
                    return name, leaf, padded, known_by
        padded_by_data = _filled(leaf)
        if padded_by_data is not None:
            return name, leaf, padded_by_data, ""
    return None


def _along(made: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor | None:
    return Sequence("", leaf, Axes(0, 1)).aligned(made)


def _two_valued(leaf: torch.Tensor) -> bool:
    return bool(((leaf == 0) | (leaf == 1)).all()) and bool((leaf == 0).any()) and bool((leaf == 1).any())


def _all_one(leaf: torch.Tensor, where: torch.Tensor) -> bool:
    chosen = leaf[where]
    return bool(chosen.numel()) and bool((chosen == chosen.reshape(-1)[0]).all())


def _ends(padded: torch.Tensor) -> bool:
    """Whether it lies at the ends of the examples, and is more than a little."""
    steps = padded.long()
    at_the_end = bool((steps.diff(dim=1) >= 0).all())
    at_the_start = bool((steps.diff(dim=1) <= 0).all())
    return (at_the_end or at_the_start) and float(steps.double().mean()) >= _LEAST_SHARE


def _filled(tokens: torch.Tensor) -> torch.Tensor | None:
    """Positions at one end that hold the lowest or the highest of all whole numbers, which hardly comes elsewhere."""
    if tokens.is_floating_point() or tokens.dim() != 2:
        return None
    for from_the_end in (True, False):
        for fill in (tokens.min(), tokens.max()):
            equal = tokens == fill
            run = (equal.flip(1) if from_the_end else equal).long().cumprod(1).bool()
            padded = run.flip(1) if from_the_end else run
            if _is_padding(tokens, padded, equal):
                return padded
    return None


def _is_padding(tokens: torch.Tensor, padded: torch.Tensor, equal: torch.Tensor) -> bool:
    tails = padded.sum(1)
    long = tails[tails > 0]
    if len(long) < max(_FEWEST_TAILS, _MANY_TAILS * len(tails)) or len(tails.unique()) < 2 or int(tails.max()) < 2:
        return False
    if bool(padded.all(1).any()) or float(padded.double().mean()) < _LEAST_SHARE:
        return False
    if float((equal & ~padded).sum()) > _INSIDE * int((~padded).sum()):
        return False
    inside = ~(padded[:, 1:] | padded[:, :-1])
    stays = tokens[:, 1:] == tokens[:, :-1]  # as numbers of documents do
    return bool(inside.any()) and float(stays[inside].double().mean()) <= _STAYS


def _passed(model: nn.Module, inputs: Any) -> torch.Tensor | None:
    leaf = next(real_outputs(model, inputs), None)
    return None if leaf is None or not bool(torch.isfinite(leaf).all()) else leaf.double()


def _moves(model: nn.Module, inputs: Any, leaf: torch.Tensor, padded: torch.Tensor) -> tuple[float, float]:
    """Outputs at other places, or of the example as a whole, when what is padded is changed, and when half of what is
    not is.
    """
    nothing = float("nan"), float("nan")
    before = _passed(model, inputs)
    if before is None:
        return nothing
    steps = _along(before, leaf)
    real = ~padded
    half = real & (real.long().cumsum(1) <= (real.sum(1, keepdim=True) // 2))
    found = []
    for changed in (padded, half):
        other = leaf.clone()
        pool = leaf[real]
        drawn = torch.Generator().manual_seed(0)
        places = torch.randint(len(pool), (int(changed.sum()),), generator=drawn).to(leaf.device)
        other[changed] = pool[places]
        after = _passed(model, tree_map(lambda one: other if one is leaf else one, inputs))  # noqa: B023
        if after is None or after.shape != before.shape:
            return nothing
        change = (after - before).abs() / (float(before.abs().max()) or 1.0)
        if steps is None:
            found.append(float(change.max()) if change.shape[0] == leaf.shape[0] else float("nan"))
        else:
            along = _along(change, leaf)
            assert along is not None
            looked_at = (real & ~changed)[:, : along.shape[1]]
            found.append(float(along[looked_at].max()) if bool(looked_at.any()) else float("nan"))
    return found[0], found[1]


def _cut(model: nn.Module, inputs: Any, leaf: torch.Tensor, padded: torch.Tensor) -> float:
    """Outputs of single examples with their padding and without, over how far examples are from each other."""
    leaves = [one for one in tree_flatten(inputs)[0] if isinstance(one, torch.Tensor)]
    along = [one for one in leaves if one.shape[:2] == leaf.shape[:2]]
    single = [one for one in leaves if one.dim() == 1 and one.shape == leaf.shape[:1]]  # lengths, and the like
    if len(along) + len(single) != len(leaves) or bool(padded[:, 0].any()):
        return float("nan")
    before = _passed(model, inputs)
    if before is None or before.shape[0] != leaf.shape[0]:
        return float("nan")
    pooled = _along(before, leaf) is None
    spread = float(before.std(0).mean()) or 1.0
    lengths = (~padded).sum(1)
    furthest = 0.0
    for row in torch.argsort(lengths)[:_LOOKED_AT].tolist():
        length = int(lengths[row])
        if length < 1 or length == leaf.shape[1]:
            continue

        def own(one: Any, row: int = row, length: int = length) -> Any:
            if any(one is other for other in along):
                return one[row : row + 1, :length]
            return one[row : row + 1] if any(one is other for other in single) else one

        after = _passed(model, tree_map(own, inputs))
        if after is None:
            return float("nan")
        if pooled:
            if after.shape[1:] != before.shape[1:]:
                return float("nan")
            apart = float((after[0] - before[row]).abs().mean())
        else:
            one, other = _along(after, leaf[:1, :length]), _along(before, leaf)
            if one is None or other is None:
                return float("nan")
            last = min(one.shape[1], length)
            apart = float((one[0, :last] - other[row, :last]).abs().mean())
        furthest = max(furthest, apart / spread)
    return furthest
