"""Inputs and outputs as sequences: which axis counts examples, which one positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map

from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.state import torch_generators

_SHORTEST = 4  # positions of a sequence
_SHORTER = 2  # positions that outputs may have less than their input, as a shift takes off
_MIXED = 1e-3  # of the largest output: by as much no rounding changes another example


class Axes(NamedTuple):
    """Of an input: the one that counts examples and the one that counts positions."""

    examples: int
    positions: int

    def steps(self, tensor: torch.Tensor) -> torch.Tensor:
        """[examples, positions, ...], a view."""
        return tensor.movedim(tuple(self), (0, 1))


class Sequence(NamedTuple):
    name: str
    leaf: torch.Tensor
    axes: Axes

    @property
    def steps(self) -> torch.Tensor:
        return self.axes.steps(self.leaf)

    @property
    def tokens(self) -> bool:
        return not self.leaf.is_floating_point()

    def aligned(self, made: torch.Tensor) -> torch.Tensor | None:
        """Outputs, or what belongs to them, as [examples, positions, numbers]; None where they do not have the
        sequence's positions, all but the last ones at least.
        """
        rows, length = self.steps.shape[:2]
        if made.dim() == 2 and made.shape[0] == rows * length and made.shape[1] != length:
            batch_first = self.axes.examples < self.axes.positions
            return made.view(rows, length, -1) if batch_first else made.view(length, rows, -1).transpose(0, 1)
        for axes in (self.axes, Axes(0, 1), Axes(0, 2), Axes(1, 0)):
            if max(axes) >= made.dim() or made.dim() > 3 or made.shape[axes.examples] != rows:
                continue
            if length - _SHORTER <= made.shape[axes.positions] <= length:
                steps = axes.steps(made)
                return steps if steps.dim() == 3 else steps[..., None]
        return None

    def exchanged(self, inputs: Any, positions: slice) -> Any:
        """The inputs with another example's elements there."""
        other = self.leaf.clone()
        part = self.axes.steps(other)[:, positions]
        part.copy_(part.roll(1, 0))
        return self.replaced(inputs, other)

    def replaced(self, inputs: Any, other: torch.Tensor) -> Any:
        return tree_map(lambda one: other if one is self.leaf else one, inputs)


def sequences_in(inputs: Any) -> Iterator[Sequence]:
    """What may be sequences, as each of its axes may count what it likes."""
    for path, leaf in tree_flatten_with_path(inputs)[0]:
        if not isinstance(leaf, torch.Tensor) or leaf.is_complex() or leaf.dtype is torch.bool:
            continue
        if leaf.dim() not in (2, 3) or (leaf.dim() == 3 and not leaf.is_floating_point()):
            continue
        for axes in (Axes(0, 1), Axes(1, 0)) + ((Axes(0, 2),) if leaf.dim() == 3 else ()):
            if leaf.shape[axes.examples] > 1 and leaf.shape[axes.positions] >= _SHORTEST:
                yield Sequence(f"inputs{keystr(path)}", leaf, axes)


def outputs_in(made: Any) -> list[Any]:
    """All that a model returned, also in objects of the user's own."""
    found: list[Any] = []
    for leaf in tree_flatten(made)[0]:
        held = vars(leaf) if not isinstance(leaf, torch.Tensor) and hasattr(leaf, "__dict__") else None
        found += [leaf] if held is None else tree_flatten(dict(held))[0]
    return found


def real_outputs(model: nn.Module, inputs: Any) -> Iterator[torch.Tensor]:
    """Of one pass with the same random numbers each time: those of two axes and more."""
    random = Randomness(*torch_generators())
    with torch.no_grad(), random.fixed():
        made = forward(model, inputs)
    for leaf in outputs_in(made):
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.dim() >= 2:
            yield leaf


def passed(model: nn.Module, inputs: Any, sequence: Sequence) -> torch.Tensor | None:
    """The model's first outputs along the sequence, in float64 and with the same random numbers each time; None where
    there are none, or they are not finite.
    """
    for leaf in real_outputs(model, inputs):
        steps = sequence.aligned(leaf.double())
        if steps is not None:
            return steps if bool(torch.isfinite(steps).all()) else None
    return None


def counts_examples(model: nn.Module, inputs: Any, sequence: Sequence) -> bool:
    """Whether what is taken for the axis of examples is one: another first example changes no other's outputs."""
    other = sequence.leaf.clone()
    steps = sequence.axes.steps(other)
    steps[0] = steps[1]
    before, after = passed(model, inputs, sequence), passed(model, sequence.replaced(inputs, other), sequence)
    if before is None or after is None:
        return False
    return float((after - before)[1:].abs().max()) <= _MIXED * (float(before.abs().max()) or 1.0)
