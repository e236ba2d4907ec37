"""How a model's outputs depend on its inputs: one example is given another's.

Its own outputs are compared in the mode that the model is in: untrained normalisation in evaluation mode may let
nothing through. Those of the others are compared in evaluation mode, in which no normalisation over the batch mixes
them. The model is left in that mode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from wellposed.backends.measured import Dependence
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.backends.torch.tracing.sizes import SEQUENCES

_FEWEST_EXAMPLES = 3  # an example, the one whose inputs it gets, and one that must not change

_MIXED = 1e-3
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}


def dependence_of(model: nn.Module, inputs: Any, targets: Any) -> Dependence | None:
    """None where inputs, outputs and targets do not all have the batch's axis first, or all examples are equal."""
    rows = _rows(targets)
    leaves = [leaf for leaf in tree_flatten(inputs)[0] if isinstance(leaf, torch.Tensor) and leaf.dim()]
    if rows < _FEWEST_EXAMPLES or not leaves or leaves[0].shape[0] != rows or leaves[0].is_complex():
        return None
    x, *beside = leaves
    one, other = _pair(x)
    if one < 0 or not all(_counts_steps(leaf, x) for leaf in beside):
        return None

    def with_other(leaf: Any) -> Any:
        if not any(leaf is own for own in leaves):
            return leaf
        changed = leaf.clone()
        changed[one] = leaf[other]
        return changed

    inputs_swapped = tree_map(with_other, inputs)
    watch = _Mixers(x)
    as_it_is = _changes(model, inputs, inputs_swapped, rows, watch)
    model.eval()
    in_use = _changes(model, inputs, inputs_swapped, rows, watch)
    if as_it_is is None or in_use is None:
        return None
    in_use[one], own = 0.0, float(as_it_is[one])
    if (
        own == 0
        # outputs in steps, as of a hard choice, may be the same for two examples: all of them, each given its
        # neighbour's
    ):
        rolled = tree_map(lambda leaf: leaf.roll(1, 0) if any(leaf is own for own in leaves) else leaf, inputs)
        all_moved = _changes(model, inputs, rolled, rows)
        own = 0.0 if all_moved is None else float(all_moved.max())
    others = float(in_use.max())
    if others > _MIXED and (watch.unbatched or (not beside and _steps_first(model, inputs, x, targets))):
        return None
    return Dependence(own, others, watch.mixer)


def _counts_steps(leaf: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether it tells which steps of each example are real: lengths, or a mask."""
    if x.dim() < 2 or leaf.is_floating_point() or leaf.is_complex():
        return False
    if leaf.shape == x.shape[:2]:
        return bool(((leaf == 0) | (leaf == 1)).all())
    return leaf.shape == x.shape[:1] and bool(leaf.min() >= 1) and bool(leaf.max() == x.shape[1])


def _steps_first(model: nn.Module, inputs: Any, x: torch.Tensor, targets: Any) -> bool:
    """Whether the first axis counts steps and the second one examples: targets have both, and nothing mixes along the
    second.
    """
    shapes = [leaf.shape for leaf in tree_flatten(targets)[0] if isinstance(leaf, torch.Tensor)]
    if x.dim() < 2 or x.shape[1] < 2 or not all(len(shape) > 1 and shape[:2] == x.shape[:2] for shape in shapes):
        return False
    swapped = x.clone()
    swapped[:, 0] = x[:, 1]
    change = _changes(model, inputs, tree_map(lambda leaf: swapped if leaf is x else leaf, inputs), x.shape[1], axis=1)
    return change is not None and bool(change[1:].max() <= _MIXED)


def _changes(
    model: nn.Module,
    inputs: Any,
    swapped: Any,
    rows: int,
    watch: AbstractContextManager[Any] | None = None,
    axis: int = 0,
) -> torch.Tensor | None:
    """The largest change of each example's outputs, over the largest output; None where `axis` of the outputs does not
    count examples.
    """
    random = Randomness(*torch_generators())  # a model may draw in use too, as a variational autoencoder does
    with torch.no_grad():
        with random.fixed(), watch or nullcontext():
            before = _outputs(forward(model, inputs), rows, axis)
        with random.fixed():
            after = _outputs(forward(model, swapped), rows, axis)
    if before is None or after is None or before.shape != after.shape:
        return None
    change, scale = (after - before).abs().flatten(1).amax(1), float(before.abs().max())
    return change / scale if bool(torch.isfinite(change).all()) and scale > 0 else None


def _rows(targets: Any) -> int:
    sizes = {leaf.shape[0] for leaf in tree_flatten(targets)[0] if isinstance(leaf, torch.Tensor) and leaf.dim()}
    return sizes.pop() if len(sizes) == 1 else 0


def _pair(x: torch.Tensor) -> tuple[int, int]:
    """Two examples that differ most from each other, of the first few; (-1, -1) where all are equal."""
    flat = x[:16].detach().flatten(1).double()
    distances = torch.cdist(flat, flat)
    if not torch.isfinite(distances).all() or not distances.any():
        return -1, -1
    place = int(distances.argmax())
    return place // len(flat), place % len(flat)


def _outputs(made: Any, rows: int, axis: int) -> torch.Tensor | None:
    """The first floating-point tensor of a model's outputs, examples first, if it has as many of them along `axis`."""
    for leaf in tree_flatten(made)[0]:
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
            return leaf.double().movedim(axis, 0) if leaf.dim() > axis and leaf.shape[axis] == rows else None
    return None


class _Mixers(Watcher):
    """Operations that run over the first axis of a tensor with as many rows as the batch, known by the way they are
    called.
    """

    def __init__(self, x: torch.Tensor) -> None:
        super().__init__()
        self._rows, self.mixer, self.unbatched = x.shape[0], "", False

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else kwargs.get("input")
        if not self.mixer and isinstance(first, torch.Tensor) and first.dim() and first.shape[0] == self._rows:
            self.mixer = self._over_rows(name, first, args, kwargs)
        return function(*args, **kwargs)

    def _over_rows(self, name: str, first: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if name in _RECURRENT and first.dim() == SEQUENCES and isinstance(args[-1], bool) and not args[-1]:
            self.unbatched = first.shape[1] == 1
            return "" if self.unbatched else f"{name.partition('_')[0].upper()} with batch_first=False"
        if name in ("softmax", "log_softmax", "softmin"):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if axis is not None and axis % first.dim() == 0 and first.dim() > 1:
                return f"{name} with dim=0"
        return ""
