"""Whether a model's outputs along a sequence know the order of its elements: positions are permuted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wellposed.backends.structure.asked import Asked, asked_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.sequences import PLAIN, Sequence, counts_examples, largest, sequences_in
from wellposed.backends.structure.shown import LEAKS, Order
from wellposed.numerics.arrays import Array

_MOST_ROWS = 4096  # positions that a regression is made of
_MASK = 2  # values of one
_ROWS_PER_NUMBER = 8  # of each number that it is made by, at least


def order_of(program: Program) -> Order | None:
    for asked in asked_of(program)[:1]:
        for sequence in sequences_in(program.inputs):
            before = sequence.aligned(program.before(asked.place))
            if before is None or not sequence.covered(program.before(asked.place)):
                continue
            if not counts_examples(program, asked.place, sequence):
                continue
            if not _mixes(program, asked.place, sequence, before):
                return None  # each element by itself, as a table of pairs is read
            conflicts = _conflicts(asked, sequence)
            if conflicts is None:
                return None
            places = np.random.default_rng(0).permutation(before.shape[1])
            after = sequence.aligned(program.passed(_permuted(program, sequence, places), asked.place))
            if after is None:
                return None
            apart = float(np.abs(after - before[:, places]).max()) / largest(before)
            return Order(sequence.name, apart, conflicts)
    return None


def _permuted(program: Program, sequence: Sequence, places: Array) -> Mapping[str, Array]:
    """The elements in another order, and masks with them; what else is read of each position may tell of the order."""
    shape = tuple(sequence.leaf.shape[axis] for axis in (sequence.axes.examples, *sequence.axes.positions))
    found = dict(sequence.replaced(sequence.steps[:, places]))
    for name, leaf in program.inputs.items():
        if name != sequence.name and leaf.shape == shape and sequence.axes == PLAIN and len(np.unique(leaf)) <= _MASK:
            found[name] = leaf[:, places]
    return found


def _mixes(program: Program, place: int, sequence: Sequence, before: Array) -> bool:
    """Whether outputs depend on other positions than their own."""
    half = before.shape[1] // 2
    for there, here in ((slice(half, None), slice(0, half)), (slice(0, half), slice(half, None))):
        after = sequence.aligned(program.passed(sequence.exchanged(there), place))
        if after is not None and np.abs(after - before)[:, here].max() > LEAKS * largest(before):
            return True
    return False


def _conflicts(asked: Asked, sequence: Sequence) -> float | None:
    """The share of targets (of their variance, where they are numbers) that a function of the element alone cannot
    give, less what the elements beside it do not settle either. Of numbers, what any others settle as well is that of a
    set.
    """
    steps = sequence.steps
    if sequence.tokens:
        found = asked.classes(sequence)
        if found is None:
            return None
        beside = _left([steps, np.roll(steps, 1, 1), np.roll(steps, -1, 1)], *found)
        return max(_left([steps], *found) - beside, 0.0)
    numbers = asked.numbers(sequence)
    if numbers is None:
        return None
    whole = steps if steps.ndim > 2 else steps[..., None]
    wanted = numbers[0][:, 1:-1].reshape(-1, numbers[0].shape[-1])
    own, near = whole[:, 1:-1], np.concatenate([whole[:, :-2], whole[:, 1:-1], whole[:, 2:]], -1)
    far = np.concatenate([own, *(one[:, 1:-1] for one in _others(whole))], -1)
    alone, beside, apart = (_explained(by.reshape(len(wanted), -1), wanted) for by in (own, near, far))
    return max(beside - max(alone, apart), 0.0)


def _others(whole: Array) -> list[Array]:
    """At each position two other elements of the same example, drawn at random."""
    drawn, places = np.random.default_rng(0), np.arange(whole.shape[1])[None].repeat(len(whole), 0)
    return [whole[np.arange(len(whole))[:, None], drawn.permuted(places, axis=1)] for _ in range(2)]


def _explained(by: Array, wanted: Array) -> float:
    """The share of the variance that a linear function explains, less what chance would."""
    by, wanted = by[:_MOST_ROWS].astype(np.float64), wanted[:_MOST_ROWS].astype(np.float64)
    rows, numbers = by.shape
    if rows < _ROWS_PER_NUMBER * numbers:
        return 0.0
    columns = np.concatenate([by, np.ones((rows, 1))], 1)
    left = wanted - columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0]
    whole = float(np.square(wanted - wanted.mean(0)).sum())
    share = float(np.square(left).sum()) / whole * (rows - 1) / (rows - numbers - 1) if whole else 1.0
    return 1.0 - share


def _left(keys: list[Array], used: Array, valid: Array) -> float:
    rows = np.broadcast_to(np.arange(len(used))[:, None], used.shape)
    known = np.stack([rows, *keys], -1)[valid]
    if not len(known):
        return 0.0
    classes = np.concatenate([known, used[valid][:, None]], -1)
    pairs, counts = np.unique(classes, axis=0, return_counts=True)
    _, of_pair = np.unique(pairs[:, :-1], axis=0, return_inverse=True)
    most = np.zeros(int(of_pair.max()) + 1, dtype=np.int64)
    np.maximum.at(most, of_pair.ravel(), counts)
    return 1 - float(most.sum()) / len(known)
