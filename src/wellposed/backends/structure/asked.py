"""What a loss asks for, read off what it sends back to the outputs: the class in use, the numbers it pulls towards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from wellposed.backends.structure.program import WIDE, Program, Sent
from wellposed.backends.structure.sequences import Sequence
from wellposed.numerics.arrays import Array

OFFSETS = range(-3, 4)
"""Positions that targets may be away from the input."""
_FEWEST = 8  # targets that an offset must be told by
_CLOSE = 1e-3  # of the spread of the input: two numbers so near are one
_NUDGE = 1e-2  # of the outputs' spread: how far they are moved to see the bend of a loss
_STEADY = 0.05  # relative: a bend that is the same for all entries is that of a sum of squares
_MOSTLY = 0.9  # of the entries that bend
_MOST_VALUES = 1024  # different numbers of an input, for them to stand for classes


class Asked:
    """Of one of the model's outputs."""

    def __init__(self, program: Program, sent: Sent) -> None:
        self._program = program
        self.place, self.outputs, self.slope = sent

    @property
    def alike(self) -> bool:
        """Whether what the model returns in evaluation mode has the axes that it has in training."""
        before = self._program.before(self.place)
        return (
            before is not None
            and before.ndim == self.outputs.ndim
            and all(
                one == other or one < other > WIDE  # of many classes some are looked at
                for one, other in zip(before.shape, self.outputs.shape, strict=True)
            )
        )

    def where(self, sequence: Sequence, *, ends: bool = False) -> Array | None:
        """At which positions anything is asked for, [examples, positions]."""
        slope = sequence.aligned(self.slope, ends=ends)
        if slope is None:
            return None
        return np.asarray(slope.any(-1))

    def classes(self, sequence: Sequence, *, ends: bool = False) -> tuple[Array, Array] | None:
        """The class in use at each position, and where there is one: its score alone has a negative derivative, or,
        where it is to be avoided, alone a positive one. A single score is asked for one of two classes.
        """
        slope = sequence.aligned(self.slope, ends=ends)
        if slope is None:
            return None
        if slope.shape[-1] == 1:
            return None if ends else ((slope[..., 0] < 0).astype(np.int64), slope[..., 0] != 0)
        below, above = (slope < 0).sum(-1), (slope > 0).sum(-1)
        avoided = (above == 1) & (below > 1)
        return np.where(avoided, slope.argmax(-1), slope.argmin(-1)), (below > 0)

    def numbers(self, sequence: Sequence, *, ends: bool = False) -> tuple[Array, Array] | None:
        """The numbers that a sum of squares pulls towards, [examples, positions, numbers], and where: its bend tells by
        how much its slope is the distance to them. None for a loss of another kind.
        """
        found = self.pulled_to
        if found is None:
            return None
        targets = sequence.aligned(found[0], ends=ends)
        known = sequence.aligned(found[1], ends=ends)
        return None if targets is None or known is None else (targets, np.asarray(known.all(-1)))

    @cached_property
    def pulled_to(self) -> tuple[Array, Array] | None:
        """As `numbers`, in the outputs' own shape."""
        moved = self.outputs + self.outputs.dtype.type(_NUDGE * (float(self.outputs.std()) or 1.0))
        there = self._program.slope_at(self.place, moved)
        if there is None:
            return None
        bend = (there - self.slope) / (moved - self.outputs)
        if not (bend > 0).any():
            return None
        usual = np.median(bend[bend > 0])
        known = np.abs(bend - usual) <= _STEADY * usual  # a Huber loss has others beyond its bounds, and none of them
        if known.sum() < _MOSTLY * (bend > 0).sum():
            return None
        return self.outputs - self.slope / usual, known

    def matches(self, sequence: Sequence, *, ends: bool = False) -> dict[int, float]:
        """By offset, the share of targets that are the sequence's elements so much later."""
        if sequence.tokens:
            found = self.classes(sequence, ends=ends)
            return {} if found is None else dict(_of_tokens(*found, sequence.steps))
        numbers = self.numbers(sequence, ends=ends)
        if numbers is not None:
            return dict(_of_numbers(*numbers, sequence.steps, ends=ends))
        given = self._of_given(sequence)
        return given or self._of_values(sequence)

    def _of_values(self, sequence: Sequence) -> dict[int, float]:
        """For classes that stand for the input's numbers, the lowest one for the lowest number."""
        steps = sequence.steps
        if steps.ndim > 2 and steps.shape[2] > 1:
            found = self.classes(sequence) if _one_hot(steps) else None
            return {} if found is None else dict(_of_tokens(*found, steps.argmax(-1)))
        values, codes = np.unique(steps.reshape(steps.shape[:2]), return_inverse=True)
        found = self.classes(sequence) if len(values) <= _MOST_VALUES else None
        if found is None or not found[1].any():
            return {}
        codes = codes.reshape(steps.shape[:2])
        classes = np.unique(found[0][found[1]])
        if not len(classes) <= len(values) <= max(int(classes.max()) + 1, 2):
            return {}
        return dict(_of_tokens(*found, codes))

    def _of_given(self, sequence: Sequence) -> dict[int, float]:
        """For a loss of another kind: the targets as given, and at how many positions' distance each is used."""
        for name, leaf in self._program.targets.items():
            given = sequence.aligned(leaf) if leaf.dtype.kind == "f" else None
            if given is None or given.shape[0] != sequence.steps.shape[0]:
                continue
            middle = given.shape[1] // 2
            places = _places(sequence, leaf)
            there = self._program.slope_at(self.place, self.outputs, {name: _moved_at(places[:, middle], leaf)})
            change = None if there is None else sequence.aligned(there - self.slope)
            if change is None:
                continue
            used = np.flatnonzero(change.any(-1).any(0)).tolist()
            if len(used) != 1:
                continue
            valid = np.asarray((places > 0).all(-1))
            return {k + middle - used[0]: share for k, share in _of_numbers(given, valid, sequence.steps)}
        return {}


def asked_of(program: Program) -> list[Asked]:
    return [Asked(program, sent) for sent in program.all_sent]


def _one_hot(steps: Array) -> bool:
    return bool(((steps == 0) | (steps == 1)).all()) and bool((steps.sum(-1) == 1).all())


def _places(sequence: Sequence, leaf: Array) -> Array:
    """Where the numbers at each position of the sequence stand in a leaf, counted from 1; 0 where there are none."""
    places = sequence.aligned(np.arange(1, leaf.size + 1).reshape(leaf.shape))
    assert places is not None
    return places


def _moved_at(places: Array, leaf: Array) -> Array:
    moved = leaf.copy()
    moved.reshape(-1)[places[places > 0] - 1] += leaf.dtype.type(float(leaf.std()) or 1.0)
    return moved


def _of_tokens(used: Array, valid: Array, tokens: Array) -> Iterator[tuple[int, float]]:
    for k, at, then, telling in _offsets(tokens, OFFSETS):
        yield k, _share(used[:, at] == then, valid[:, at] & telling)


def _of_numbers(targets: Array, valid: Array, steps: Array, *, ends: bool = False) -> Iterator[tuple[int, float]]:
    """Each number that is asked for may be another feature of the input."""
    whole = steps if steps.ndim > 2 else steps[..., None]
    close = _CLOSE * (float(whole.std()) or 1.0)
    if not valid.any() or float(targets[valid].std()) <= close:
        return  # one number for all, as a penalty asks for
    offsets = range(1 - steps.shape[1], steps.shape[1]) if ends else OFFSETS
    for k, at, then, telling in _offsets(whole, offsets):
        counted = valid[:, at] & telling
        shares = []
        for one in range(targets.shape[2]):
            near = [np.abs(targets[:, at, one] - then[..., other]) <= close for other in range(then.shape[2])]
            shares.append(max(_share(same, counted) for same in near))
        yield k, min(shares)


def _offsets(steps: Array, offsets: range) -> Iterator[tuple[int, slice, Array, Array]]:
    """For each offset: the positions of the outputs, what the input is there, and where its neighbours differ."""
    apart = steps[:, 1:] != steps[:, :-1]
    apart = apart if apart.ndim == 2 else apart.any(-1)
    changes = np.zeros(steps.shape[:2], dtype=bool)
    changes[:, 1:] |= apart
    changes[:, :-1] |= apart
    length = steps.shape[1]
    for k in offsets:
        first, last = max(0, -k), min(length, length - k)
        if last > first:
            yield k, slice(first, last), steps[:, first + k : last + k], changes[:, first + k : last + k]


def _share(matching: Array, counted: Array) -> float:
    number = int(counted.sum())
    return float((matching & counted).sum()) / number if number >= _FEWEST else float("nan")
