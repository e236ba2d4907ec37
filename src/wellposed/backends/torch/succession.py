"""What a model is asked for along a sequence, and what it sees: the future is exchanged, and the past must not move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import keystr, tree_flatten, tree_flatten_with_path

from wellposed.backends.structure import LEAKS, MATCHES, Succession
from wellposed.backends.torch.asked import Asked, Loss
from wellposed.backends.torch.forward import forward
from wellposed.backends.torch.sequences import Sequence, counts_examples, passed, sequences_in

_MOST_LAG = 2  # positions that a model may shift its inputs by itself
_LONG_ENOUGH = 2.0  # positions of a document, on average


def successions_of(model: nn.Module, inputs: Any, targets: Any, loss: Loss) -> list[Succession]:
    """The model is left in evaluation mode."""
    candidates = list(sequences_in(inputs))
    if not candidates:
        return []
    asked = Asked(forward(model, inputs), targets, loss)
    if not asked.known:
        return []
    model.eval()
    found: dict[str, Succession] = {}
    for sequence in candidates:
        if sequence.name in found:
            continue
        matches = asked.matches(sequence)
        if max((share for share in matches.values() if share == share), default=0.0) < MATCHES:
            continue
        where = asked.where(sequence)
        if where is not None and counts_examples(model, inputs, sequence):
            found[sequence.name] = _seen(model, inputs, sequence, matches, where)
    return list(found.values())


def _seen(
    model: nn.Module, inputs: Any, sequence: Sequence, matches: Mapping[int, float], where: torch.Tensor
) -> Succession:
    """The last two thirds, and the last third, of a sequence are given to another example."""
    unknown = Succession(sequence.name, matches)
    length = where.shape[1]
    leak, own, past, enters = 0.0, 0.0, 0.0, ""
    for start in sorted({max(1, length // 3), max(1, 2 * length // 3)}):
        watch = _Passes(model, sequence, where, start)
        with watch:
            before = passed(model, inputs, sequence)
        with watch:
            after = passed(model, sequence.exchanged(inputs, slice(start, None)), sequence)
        if before is None or after is None or before.shape != after.shape:
            return unknown
        change = (after - before).abs().amax(-1) / (float(before.abs().max()) or 1.0)
        earlier = float((change * where)[:, :start].max())
        if earlier > leak:
            leak, enters = earlier, watch.first_moved
        own = max(own, float(change[:, start:].max()))
        before_it = passed(model, sequence.exchanged(inputs, slice(0, start)), sequence)
        if before_it is not None:
            moved = (before_it - before).abs().amax(-1) / (float(before.abs().max()) or 1.0)
            past = max(past, float(moved[:, start:].max()))
    known = Succession(sequence.name, matches, leak, own, past, _lag(model, inputs, sequence), enters)
    return _across_documents(model, inputs, sequence, known)


def _lag(model: nn.Module, inputs: Any, sequence: Sequence) -> int:
    """Over some positions, as at one all examples may have the same element."""
    before = passed(model, inputs, sequence)
    length = sequence.steps.shape[1]
    lags = []
    for at in sorted({length // 4, length // 2, 3 * length // 4, max(length // 2 - 1, 0)}):
        after = passed(model, sequence.exchanged(inputs, slice(at, at + 1)), sequence)
        if before is None or after is None:
            return 0
        change = (after - before).abs().amax((0, 2)) / (float(before.abs().max()) or 1.0)
        moved = (change[at : at + _MOST_LAG + 1] > LEAKS).nonzero().flatten()
        lags += [int(moved[0])] if len(moved) else []
    return min(lags, default=0)


def _across_documents(model: nn.Module, inputs: Any, sequence: Sequence, known: Succession) -> Succession:
    """Where another input tells documents in one row apart, the first one of each row is exchanged."""
    for path, leaf in tree_flatten_with_path(inputs)[0]:
        if not isinstance(leaf, torch.Tensor) or leaf is sequence.leaf or leaf.shape != sequence.leaf.shape:
            continue
        documents = None if leaf.is_floating_point() else _documents(sequence.axes.steps(leaf))
        if documents is None:
            continue
        other = sequence.leaf.clone()
        steps = sequence.axes.steps(other)
        first = documents == 0
        steps[first] = steps.roll(1, 0)[first]
        before, after = passed(model, inputs, sequence), passed(model, sequence.replaced(inputs, other), sequence)
        if before is None or after is None:
            continue
        change = (after - before).abs().amax(-1) / (float(before.abs().max()) or 1.0)
        later = documents[:, : change.shape[1]] > 0
        return replace(known, documents=f"inputs{keystr(path)}", from_before=float((change * later).max()))
    return known


def _documents(numbers: torch.Tensor) -> torch.Tensor | None:
    """Which document each position belongs to: numbers that stay within one, or count its positions from 0."""
    if numbers.dtype is torch.bool or numbers.dim() != 2:
        return None
    steps = numbers.diff(dim=1)
    stays = bool(((steps == 0) | (steps == 1)).all()) and bool((numbers[:, 0] == numbers[0, 0]).all())
    counts = bool(((steps == 1) | (numbers[:, 1:] == 0)).all()) and bool((numbers[:, 0] == 0).all())
    if stays:
        documents = numbers - numbers[:, :1]
    elif counts:
        documents = (numbers == 0).long().cumsum(1) - 1
    else:
        return None
    several = int(documents[:, -1].max()) > 0
    return (
        documents
        if several and numbers.shape[1] / (float(documents[:, -1].double().mean()) + 1) > _LONG_ENOUGH
        else None
    )


class _Passes:
    """Two passes through a model: which module's outputs are the first to differ before a position."""

    def __init__(self, model: nn.Module, sequence: Sequence, where: torch.Tensor, start: int) -> None:
        self._model, self._sequence, self._where, self._start = model, sequence, where, start
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
        leaf = next((one for one in tree_flatten(made)[0] if isinstance(one, torch.Tensor) and one.dim() == 3), None)
        if leaf is None or not leaf.is_floating_point():
            return
        steps = self._sequence.aligned(leaf.detach())
        if steps is None:
            return
        steps = steps[:, : self._start] * self._where[:, : self._start, None]
        if not self._again:
            self._first[name, call] = steps
        elif not self.first_moved and (name, call) in self._first:
            before = self._first[name, call]
            if bool((steps - before).abs().max() > LEAKS * before.abs().max()):
                self.first_moved = name
