"""What a loss asks for at each position of a model's outputs, read off the gradient that it sends to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from wellposed.backends.torch.sequences import Sequence, outputs_in

OFFSETS = range(-3, 4)
_FEWEST = 12  # positions that can tell one offset from another
_CLOSE = 1e-3  # of the input's spread: real numbers that are one and the same
_NUDGE = 0.1  # of the outputs' spread: how far they are moved to see the bend of a loss
_STEADY = 0.05  # relative: a bend that is the same for all entries is that of a sum of squares

Loss = Callable[[Any, Any], torch.Tensor]


class Asked:
    """`loss` is a function of outputs and targets."""

    def __init__(self, made: Any, targets: Any, loss: Loss) -> None:
        self._leaves, self._tree = tree_flatten(made)
        leaves = outputs_in(made)
        self._targets, self._loss = targets, loss
        value = loss(made, targets)
        self._place, self.outputs, self.slope, self._made = -1, torch.empty(0), torch.empty(0), None
        for place, leaf in enumerate(leaves):
            if not (isinstance(leaf, torch.Tensor) and leaf.dim() >= 2 and leaf.requires_grad):
                continue
            (slope,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
            if slope is not None and bool(slope.any()):
                self._place, self.outputs, self.slope, self._made = place, leaf.detach(), slope.detach(), leaf
                break

    @property
    def known(self) -> bool:
        return self._place >= 0

    def where(self, sequence: Sequence) -> torch.Tensor | None:
        """At which positions anything is asked for, [examples, positions]."""
        slope = sequence.aligned(self.slope)
        return None if slope is None else slope.any(-1)

    def classes(self, sequence: Sequence) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The class in use at each position, whose score alone has a negative derivative, and where there is one."""
        slope = sequence.aligned(self.slope)
        if slope is None or slope.shape[-1] < 2:
            return None
        lowest, used = slope.min(-1)
        return used, lowest < 0

    def numbers(self, sequence: Sequence) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The numbers that a sum of squares pulls towards, [examples, positions, numbers], and where: its bend tells by
        how much its slope is the distance to them. None for a loss of another kind.
        """
        outputs, slope = sequence.aligned(self.outputs), sequence.aligned(self.slope)
        if outputs is None or slope is None:
            return None
        found = self.pulled_to()
        if found is None:
            return None
        targets, known = sequence.aligned(found[0]), sequence.aligned(found[1])
        assert targets is not None
        assert known is not None
        return targets, known.all(-1)

    def pulled_to(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """As `numbers`, in the outputs' own shape."""
        moved = self.outputs + _NUDGE * (float(self.outputs.std()) or 1.0)
        there = self._slope_at(moved, self._targets)
        if there is None:
            return None
        bend = (there - self.slope) / (moved - self.outputs)
        known = bend > 0
        if not bool(known.any()) or float(bend[known].std()) > _STEADY * float(bend[known].mean()):
            return None
        return self.outputs - self.slope / torch.where(known, bend, torch.ones_like(bend)), known

    def _slope_at(self, outputs: torch.Tensor, targets: Any) -> torch.Tensor | None:
        if self._place >= len(self._leaves) or self._leaves[self._place] is not self._made:
            return None  # within an object of the user's own, in which nothing can be put
        leaf = outputs.detach().clone().requires_grad_(True)
        leaves = [leaf if place == self._place else one for place, one in enumerate(self._leaves)]
        value = self._loss(tree_unflatten(leaves, self._tree), targets)
        if not value.requires_grad:
            return None
        return torch.autograd.grad(value, leaf, allow_unused=True)[0]

    def matches(self, sequence: Sequence) -> dict[int, float]:
        """By offset, the share of targets that are the sequence's elements so much later."""
        if sequence.tokens:
            found = self.classes(sequence)
            return {} if found is None else dict(_of_tokens(*found, sequence.steps))
        numbers = self.numbers(sequence)
        if numbers is not None:
            return dict(_of_numbers(*numbers, sequence.steps))
        return self._of_given(sequence)

    def _of_given(self, sequence: Sequence) -> dict[int, float]:
        """For a loss of another kind: the targets as given, and at how many positions' distance each is used."""
        leaves = [leaf for leaf in tree_flatten(self._targets)[0] if isinstance(leaf, torch.Tensor)]
        for leaf in leaves:
            given = sequence.aligned(leaf) if leaf.is_floating_point() else None
            if given is None:
                continue
            middle = given.shape[1] // 2
            other = leaf.clone()
            moved = sequence.aligned(other)
            assert moved is not None
            moved[:, middle] += float(leaf.std()) or 1.0
            targets = tree_map(lambda one: other if one is leaf else one, self._targets)  # noqa: B023
            there = self._slope_at(self.outputs, targets)
            change = None if there is None else sequence.aligned(there - self.slope)
            if change is None:
                continue
            used = change.any(-1).any(0).nonzero().flatten().tolist()
            if len(used) != 1:
                continue
            valid = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
            return {k + middle - used[0]: share for k, share in _of_numbers(given, valid, sequence.steps)}
        return {}


def _of_tokens(used: torch.Tensor, valid: torch.Tensor, tokens: torch.Tensor) -> Iterator[tuple[int, float]]:
    for k, at, then, telling in _offsets(tokens, used.shape[1]):
        yield k, _share(used[:, at] == then, valid[:, at] & telling)


def _of_numbers(targets: torch.Tensor, valid: torch.Tensor, steps: torch.Tensor) -> Iterator[tuple[int, float]]:
    """Each number that is asked for may be another feature of the input."""
    whole = steps if steps.dim() == 3 else steps[..., None]
    close = _CLOSE * (float(whole.std()) or 1.0)
    for k, at, then, telling in _offsets(whole, targets.shape[1]):
        shares = []
        for one in range(targets.shape[2]):
            near = [(targets[:, at, one] - then[..., other]).abs() <= close for other in range(then.shape[2])]
            shares.append(max(_share(same, valid[:, at] & telling) for same in near))
        yield k, min(shares)


def _offsets(steps: torch.Tensor, length: int) -> Iterator[tuple[int, slice, torch.Tensor, torch.Tensor]]:
    """For each offset: the positions of the outputs, what the input is there, and where its neighbours differ."""
    apart = steps[:, 1:] != steps[:, :-1]
    apart = apart if apart.dim() == 2 else apart.any(-1)
    changes = torch.zeros(steps.shape[:2], dtype=torch.bool, device=steps.device)
    changes[:, 1:] |= apart
    changes[:, :-1] |= apart
    for k in OFFSETS:
        first, last = max(0, -k), min(length, steps.shape[1] - k)
        if last > first:
            yield k, slice(first, last), steps[:, first + k : last + k], changes[:, first + k : last + k]


def _share(matching: torch.Tensor, counted: torch.Tensor) -> float:
    number = int(counted.sum())
    return float((matching & counted).sum()) / number if number >= _FEWEST else float("nan")
