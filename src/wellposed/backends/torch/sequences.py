"""What a model is asked for along a sequence, and what it sees: the target in use at each position is read off the
gradient that the loss sends to the outputs, and the future is exchanged to see whether the past moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path, tree_map, tree_unflatten

from wellposed.backends.measured import MATCHES, Succession
from wellposed.backends.randomness import Randomness
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.state import torch_generators

OFFSETS = range(-3, 4)
_FEWEST = 12  # positions that can tell one offset from another
_CLOSE = 1e-3  # of the input's spread: real numbers that are one and the same
_NUDGE = 0.1  # of the outputs' spread: how far they are moved to see the bend of a loss
_STEADY = 0.05  # relative: a bend that is the same for all entries is that of a sum of squares
_SHORTEST = 4  # positions of a sequence


def successions_of(model: nn.Module, inputs: Any, loss: Callable[[Any], torch.Tensor]) -> Iterator[Succession]:
    """`loss` is a function of the model's outputs. The model is left in evaluation mode."""
    named = sequences_in(inputs)
    if not named:
        return
    asked = Asked(forward(model, inputs), loss)
    for name, leaf in named:
        for axis in (1, 0):
            matches = asked.matches(leaf, axis)
            if max((share for share in matches.values() if share == share), default=0.0) < MATCHES:
                continue
            yield _seen(model, inputs, name, leaf, axis, matches)
            break


def sequences_in(inputs: Any) -> list[tuple[str, torch.Tensor]]:
    """The inputs that may count examples and positions, by name."""
    return [
        (f"inputs{keystr(path)}", leaf)
        for path, leaf in tree_flatten_with_path(inputs)[0]
        if isinstance(leaf, torch.Tensor) and leaf.dim() >= 2 and min(leaf.shape[:2]) >= 2 and not leaf.is_complex()
    ]


class Asked:
    """The targets that the loss uses, read off its gradient by the outputs."""

    def __init__(self, made: Any, loss: Callable[[Any], torch.Tensor]) -> None:
        self._leaves, self._tree = tree_flatten(made)
        self._loss = loss
        value = loss(made)
        self._place, self._outputs, self._slope = -1, torch.empty(0), torch.empty(0)
        for place, leaf in enumerate(self._leaves):
            if not (isinstance(leaf, torch.Tensor) and leaf.dim() >= 2 and leaf.requires_grad):
                continue
            (slope,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
            if slope is not None and bool(slope.any()):
                self._place, self._outputs, self._slope = place, leaf.detach(), slope.detach()
                break

    def slope_along(self, leaf: torch.Tensor) -> torch.Tensor | None:
        """What the loss sends to each position's outputs, [examples, positions, numbers]; None where they have none."""
        return None if self._place < 0 else along_the_sequence(self._slope, leaf.shape, 1)

    def classes(self, leaf: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The class in use at each position, and where there is one."""
        slope = self.slope_along(leaf)
        if slope is None or slope.shape[-1] < 2:
            return None
        lowest, used = slope.min(-1)
        return used, lowest < 0

    def matches(self, leaf: torch.Tensor, axis: int) -> dict[int, float]:
        """By offset, along an axis of the input."""
        if self._place < 0:
            return {}
        steps = leaf.movedim(axis, 1)
        if steps.shape[1] < _SHORTEST:
            return {}
        if not leaf.is_floating_point() and leaf.dim() == 2 and leaf.dtype is not torch.bool:
            slope = along_the_sequence(self._slope, steps.shape, axis)
            return {} if slope is None or slope.shape[-1] < 2 else _of_tokens(slope, steps)
        if leaf.is_floating_point() and leaf.dim() == 3:
            return self._of_numbers(steps, axis)
        return {}

    def _of_numbers(self, steps: torch.Tensor, axis: int) -> dict[int, float]:
        """For a sum of squared differences: its bend tells by how much its slope is the distance to the targets."""
        outputs = along_the_sequence(self._outputs, steps.shape, axis)
        slope = along_the_sequence(self._slope, steps.shape, axis)
        if outputs is None or slope is None:
            return {}
        moved = self._outputs + _NUDGE * (float(self._outputs.std()) or 1.0)
        moved.requires_grad_(True)
        leaves = [moved if place == self._place else one for place, one in enumerate(self._leaves)]
        value = self._loss(tree_unflatten(leaves, self._tree))
        (there,) = torch.autograd.grad(value, moved, allow_unused=True)
        if there is None:
            return {}
        bend = along_the_sequence((there - self._slope) / (moved.detach() - self._outputs), steps.shape, axis)
        assert bend is not None
        known = bend > 0
        if not bool(known.any()) or float(bend[known].std()) > _STEADY * float(bend[known].mean()):
            return {}
        targets = outputs - slope / torch.where(known, bend, torch.ones_like(bend))
        return _of_numbers(targets, known.all(-1), steps)


def along_the_sequence(made: torch.Tensor, shape: torch.Size, axis: int) -> torch.Tensor | None:
    """Outputs or what belongs to them as [examples, positions, numbers], for an input of that shape whose positions came
    along `axis`; None where they do not have its positions, all but the last ones at least.
    """
    rows, length = shape[0], shape[1]
    if made.dim() == 2 and made.shape[0] == rows * length:
        return made.view(rows, length, -1) if axis == 1 else made.view(length, rows, -1).transpose(0, 1)
    if made.dim() == 2 and axis == 1 and made.shape[0] == rows and length - 2 <= made.shape[1] <= length:
        return made[..., None]
    if made.dim() != 3:
        return None
    steps = made if axis == 1 else made.transpose(0, 1)
    if steps.shape[0] != rows:
        return None
    if length - 2 <= steps.shape[1] <= length:
        return steps
    if length - 2 <= steps.shape[2] <= length:
        return steps.transpose(1, 2)
    return None


def _of_tokens(slope: torch.Tensor, tokens: torch.Tensor) -> dict[int, float]:
    """The class in use is that whose score has the lowest, negative, derivative."""
    lowest, used = slope.min(-1)
    valid = lowest < 0
    return {k: _share(used[:, at] == then, valid[:, at] & telling) for k, at, then, telling in _offsets(tokens, used)}


def _of_numbers(targets: torch.Tensor, valid: torch.Tensor, steps: torch.Tensor) -> dict[int, float]:
    """Each number that is asked for may be another feature of the input."""
    found: dict[int, float] = {}
    close = _CLOSE * (float(steps.std()) or 1.0)
    for k, at, then, telling in _offsets(steps, valid):
        apart = (targets[:, at, :, None] - then[:, :, None, :]).abs() <= close
        shares = [
            max(_share(apart[:, :, one, other], valid[:, at] & telling) for other in range(apart.shape[3]))
            for one in range(apart.shape[2])
        ]
        found[k] = min(shares)
    return found


def _offsets(
    steps: torch.Tensor, outputs: torch.Tensor
) -> Iterator[tuple[int, slice, torch.Tensor, torch.Tensor]]:
    """For each offset: the positions of the outputs, what the input is there, and where its neighbours differ."""
    length = min(steps.shape[1], outputs.shape[1])
    flat = steps if steps.dim() == 2 else steps.flatten(2)
    changes = torch.zeros(flat.shape[:2], dtype=torch.bool, device=flat.device)
    apart = flat[:, 1:] != flat[:, :-1]
    apart = apart if apart.dim() == 2 else apart.any(-1)
    changes[:, 1:] |= apart
    changes[:, :-1] |= apart
    for k in OFFSETS:
        first, last = max(0, -k), min(length, steps.shape[1] - k)
        if last - first >= 1:
            yield k, slice(first, last), flat[:, first + k : last + k], changes[:, first + k : last + k]


def _share(matching: torch.Tensor, counted: torch.Tensor) -> float:
    number = int(counted.sum())
    return float((matching & counted).sum()) / number if number >= _FEWEST else float("nan")


def _seen(
    model: nn.Module, inputs: Any, name: str, leaf: torch.Tensor, axis: int, matches: dict[int, float]
) -> Succession:
    """The last two thirds, and the last third, of a sequence are given to another example."""
    model.eval()
    length = leaf.shape[axis]
    leak, own, enters = 0.0, 0.0, ""
    for start in sorted({max(1, length // 3), max(1, 2 * length // 3)}):
        other = leaf.clone()
        later = other.narrow(axis, start, length - start)
        later.copy_(later.roll(1, 1 - axis))
        swapped = tree_map(lambda one: other if one is leaf else one, inputs)  # noqa: B023
        watch = _Passes(model, leaf.shape, axis, start)
        before = _outputs(model, inputs, leaf, axis, watch)
        after = _outputs(model, swapped, leaf, axis, watch)
        if before is None or after is None:
            return Succession(name, matches, tokens=not leaf.is_floating_point())
        change = (after - before).abs() / (float(before.abs().max()) or 1.0)
        earlier, rest = float(change[:, :start].max()), float(change[:, start:].max())
        if earlier > leak:
            leak, enters = earlier, watch.first_moved
        own = max(own, rest)
    return Succession(name, matches, leak, own, enters, tokens=not leaf.is_floating_point())


def _outputs(model: nn.Module, inputs: Any, leaf: torch.Tensor, axis: int, watch: _Passes) -> torch.Tensor | None:
    random = Randomness(*torch_generators())
    with torch.no_grad(), random.fixed(), watch:
        made = forward(model, inputs)
    for one in tree_flatten(made)[0]:
        if isinstance(one, torch.Tensor) and one.is_floating_point() and one.dim() >= 2:
            steps = along_the_sequence(one.double(), leaf.movedim(axis, 1).shape, axis)
            if steps is not None:
                return steps if bool(torch.isfinite(steps).all()) else None
    return None


class _Passes:
    """Two passes through a model: which module's outputs are the first to differ before a position."""

    def __init__(self, model: nn.Module, shape: torch.Size, axis: int, start: int) -> None:
        self._model, self._axis, self._start = model, axis, start
        self._shape = shape if axis == 1 else torch.Size((shape[1], shape[0]))
        self._first: dict[tuple[str, int], torch.Tensor] = {}
        self._calls: dict[str, int] = {}
        self._again = False
        self.first_moved = ""

    def __enter__(self) -> None:
        self._calls.clear()
        self._handles = [
            module.register_forward_hook(lambda _m, _i, made, name=name: self._note(name, made))
            for name, module in self._model.named_modules()
            if name and not isinstance(module, torch.jit.ScriptModule)
        ]

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()
        self._again = True

    def _note(self, name: str, made: Any) -> None:
        call = self._calls[name] = self._calls.get(name, -1) + 1
        steps = next((one for one in tree_flatten(made)[0] if isinstance(one, torch.Tensor) and one.dim() == 3), None)
        if steps is None or not steps.is_floating_point():
            return
        steps = along_the_sequence(steps.detach(), self._shape, self._axis)
        if steps is None:
            return
        steps = steps[:, : self._start]
        if not self._again:
            self._first[name, call] = steps
        elif not self.first_moved and (name, call) in self._first:
            before = self._first[name, call]
            if bool((steps - before).abs().max() > 1e-6 * before.abs().max()):
                self.first_moved = name
