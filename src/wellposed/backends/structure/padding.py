"""What the padded positions of a batch do: where they lie is told by a mask or lengths in it, else by the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from wellposed.backends.structure.asked import asked_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.sequences import PLAIN, Axes, Sequence, largest
from wellposed.backends.structure.shown import Padding
from wellposed.numerics.arrays import Array
from wellposed.users_code import ask

_LEAST_SHARE = 0.03  # of all positions
_FEWEST_TAILS, _MANY_TAILS = 2, 0.25  # examples that end in padding, and share of all; of two lengths at least
_INSIDE = 0.01  # share of the positions before, up to which what fills the ends is no usual number
_STAYS = 0.5  # of the positions that are no padding: what repeats as often is no sequence of elements
_SHORT = 0.25  # share of the examples, the shortest ones, whose padding is cut off
_MOVES, _STILL = 1e-3, 1e-6  # of the largest output: it moves, and does not
_TIME_FIRST = Axes(1, (0,))


def paddings_of(program: Program) -> list[Padding]:
    """Of each padded input what it does, the first of a kind alone: inputs that are padded alike are one sequence."""
    found: list[Padding] = []
    known: list[Array] = []
    for sequence, padded, known_by in _padded(program):
        if not any(one.shape == padded.shape and (one == padded).all() for one in known):
            known.append(padded)
            found.append(_Look(program, sequence, padded).told(known_by))
    return found


def _padded(program: Program) -> Iterator[tuple[Sequence, Array, str]]:
    """The sequences that are padded, where [examples, positions], and what in the batch tells of that."""
    batch = {**program.inputs, **program.targets}
    masks = {name for name, leaf in batch.items() if leaf.ndim == 2 and _two_valued(leaf)}
    for name, leaf in program.inputs.items():
        if name in masks or leaf.ndim not in (2, 3) or min(leaf.shape[:2]) < 2 or leaf.dtype.kind not in "iuf":
            continue
        for axes in (PLAIN, _TIME_FIRST):
            sequence = Sequence(name, leaf, axes)
            told = next(_told(sequence, {one: batch[one] for one in batch if one != name}, masks), None)
            padded = _filled(sequence.steps) if told is None else None
            if told is not None or padded is not None:
                yield (sequence, *told) if told is not None else (sequence, padded, "")  # type: ignore[misc]
                break


def _told(sequence: Sequence, others: Mapping[str, Array], masks: set[str]) -> Iterator[tuple[Array, str]]:
    steps = sequence.steps
    rows, length = steps.shape[:2]
    for name, leaf in others.items():
        if name in masks:
            for mask in (leaf, leaf.T):
                for padded in (mask == 0, mask != 0):
                    fits = padded.shape == (rows, length) and _ends(padded)
                    if fits and _all_one(steps, padded) and not _all_one(steps, ~padded):
                        yield padded, name
        elif _are_lengths(leaf, rows, length):
            at_the_end = np.arange(length)[None] >= leaf[:, None]
            for padded in (at_the_end, at_the_end[:, ::-1]):
                if _all_one(steps, padded) and not _all_one(steps, ~padded):
                    yield padded, name


def _are_lengths(leaf: Array, rows: int, length: int) -> bool:
    whole = leaf.ndim == 1 and leaf.dtype.kind in "iu" and len(leaf) == rows
    return whole and bool(1 <= leaf.min() < leaf.max() <= length)


def _two_valued(leaf: Array) -> bool:
    return bool(((leaf == 0) | (leaf == 1)).all()) and bool((leaf == 0).any()) and bool((leaf == 1).any())


def _all_one(steps: Array, where: Array) -> bool:
    chosen = steps[where]
    return bool(chosen.size) and bool((chosen == chosen[0]).all())


def _ends(padded: Array) -> bool:
    """Whether it lies at the ends of the examples, and is more than a little."""
    steps = np.diff(padded.astype(np.int8), axis=1)
    return bool((steps >= 0).all() or (steps <= 0).all()) and float(padded.mean()) >= _LEAST_SHARE


def _filled(tokens: Array) -> Array | None:
    """Positions at one end that hold the lowest or the highest of all whole numbers, which hardly comes elsewhere."""
    if tokens.dtype.kind not in "iu" or tokens.ndim != 2:
        return None
    for from_the_end in (True, False):
        for fill in (tokens.min(), tokens.max()):
            equal = tokens == fill
            run = np.logical_and.accumulate(equal[:, ::-1] if from_the_end else equal, 1)
            padded = run[:, ::-1] if from_the_end else run
            if _is_padding(tokens, padded, equal):
                return padded
    return None


def _is_padding(tokens: Array, padded: Array, equal: Array) -> bool:
    tails = padded.sum(1)
    long = tails[tails > 0]
    if len(long) < max(_FEWEST_TAILS, _MANY_TAILS * len(tails)) or len(np.unique(tails)) < 2 or int(tails.max()) < 2:
        return False
    if padded.all(1).any() or float(padded.mean()) < _LEAST_SHARE:
        return False
    if float((equal & ~padded).sum()) > _INSIDE * int((~padded).sum()):
        return False
    inside = ~(padded[:, 1:] | padded[:, :-1])
    stays = tokens[:, 1:] == tokens[:, :-1]  # as numbers of documents do
    return bool(inside.any()) and float(stays[inside].mean()) <= _STAYS


class _Look:
    def __init__(self, program: Program, sequence: Sequence, padded: Array) -> None:
        self._program, self._sequence, self._padded, self._real = program, sequence, padded, ~padded
        every = asked_of(program)
        self._asked = next((one for one in every if sequence.aligned(one.slope) is not None), next(iter(every), None))
        self._place = None if self._asked is None else self._asked.place
        self._before = program.before(self._place)

    def told(self, known_by: str) -> Padding:
        # What a recurrent layer reads first, before all that is real, changes where it begins, and no more.
        begun_with = self._program.recurrent and bool(self._padded[:, 0].any())
        unknown = float("nan")
        moves, real_moves = (unknown, unknown) if begun_with else ask(self._moves, (unknown, unknown))
        return Padding(
            self._sequence.name,
            known_by,
            float(self._padded.mean()),
            in_loss=self._in_loss(),
            moves=moves,
            real_moves=real_moves,
            cut=ask(self._cut, unknown),
            recurrent=self._program.recurrent,
            empty=int(self._padded.all(1).sum()),
            pooled=self._before is not None and self._sequence.aligned(self._before) is None,
            unread=ask(self._unread, unknown) if known_by and self._program.recurrent else unknown,
            inverted=moves > _MOVES and ask(lambda: self._inverted(known_by), False),
        )

    def _inverted(self, known_by: str) -> bool:
        """Whether padding has no influence where the mask among the inputs is turned round."""
        mask = self._program.inputs.get(known_by)
        if mask is None or not _two_valued(mask):
            return False
        turned = (1 - mask.astype(np.int64)).astype(mask.dtype)
        after = [self._program.passed({**changed, known_by: turned}, self._place) for changed in ({}, self._redrawn())]
        if after[0] is None or after[1] is None:
            return False
        return self._moved(after[1], self._padded, after[0]) <= _STILL

    def _redrawn(self) -> Mapping[str, Array]:
        """Other elements where there is padding."""
        return self._with_other(self._padded, np.random.default_rng(0))

    def _with_other(self, changed: Array, drawn: np.random.Generator) -> Mapping[str, Array]:
        steps = self._sequence.steps.copy()
        pool = steps[self._real]
        steps[changed] = pool[drawn.integers(len(pool), size=int(changed.sum()))]
        return self._sequence.replaced(steps)

    def _in_loss(self) -> float:
        slope = None if self._asked is None else self._sequence.aligned(self._asked.slope)
        if slope is None or not slope.any():
            return float("nan")
        sent = np.abs(slope).sum(-1)
        return float(sent[self._padded].sum() / sent.sum())

    def _moves(self) -> tuple[float, float]:
        """Outputs at other places, or of the example as a whole, when what is padded is changed, and when half of what
        is not is.
        """
        half = self._real & (self._real.cumsum(1) <= self._real.sum(1, keepdims=True) // 2)
        drawn = np.random.default_rng(0)
        found = []
        for changed in (self._padded, half):
            after = self._program.passed(self._with_other(changed, drawn), self._place)
            found.append(self._moved(after, changed, self._before))
        return found[0], found[1]

    def _moved(self, after: Array | None, changed: Array, before: Array | None) -> float:
        if after is None or before is None or after.shape != before.shape:
            return float("nan")
        change = np.abs(after - before) / largest(before)
        along = self._sequence.aligned(change)
        if along is None:
            return float(change.max()) if change.shape[0] == len(changed) else float("nan")
        looked_at = self._real & ~changed
        return float(along[looked_at].max()) if looked_at.any() else float("nan")

    def _unread(self) -> float:
        """The share of the padded examples whose outputs do not move at all when their last real element changes; NaN
        where outputs are along the sequence.
        """
        before = self._before
        if before is None or len(before) != len(self._padded) or self._sequence.aligned(before) is not None:
            return float("nan")
        rows = np.flatnonzero(self._real.any(1) & self._padded.any(1))
        last = self._real.shape[1] - 1 - self._real[rows, ::-1].argmax(1)
        steps = self._sequence.steps.copy()
        steps[rows, last] = np.roll(steps[rows, last], 1, 0)
        differ = (steps[rows, last] != self._sequence.steps[rows, last]).reshape(len(rows), -1).any(1)
        after = self._program.passed(self._sequence.replaced(steps), self._place)
        if after is None or after.shape != before.shape or not differ.any():
            return float("nan")
        moved = np.abs(after - before).reshape(len(before), -1).max(1)[rows] / largest(before)
        return float((moved[differ] <= _STILL).mean())

    def _cut(self) -> float:
        """Outputs of the shortest examples with padding that they have in common and without it, over how far examples
        are from each other.
        """
        before = self._before
        lengths = self._real.shape[1] - self._padded[:, ::-1].argmin(1)
        rows = np.sort(np.argsort(lengths, kind="stable")[: max(2, int(_SHORT * len(lengths)))])
        length, whole = int(lengths[rows].max()), self._real.shape[1]
        if before is None or self._padded[:, 0].any() or length == whole or length < 1:
            return float("nan")
        batch = {**self._program.targets, **self._program.inputs}
        long = {name: self._chosen(leaf, rows, whole, name) for name, leaf in batch.items()}
        short = {name: self._chosen(leaf, rows, length, name) for name, leaf in batch.items()}
        one, other = (self._program.passed(changed, self._place) for changed in (long, short))
        pooled = self._sequence.aligned(before) is None
        if one is None or other is None or (pooled and one.shape != other.shape):
            return float("nan")
        if not pooled:
            among = Sequence("", long[self._sequence.name], self._sequence.axes)
            within = Sequence("", short[self._sequence.name], self._sequence.axes)
            whole_along, along = among.aligned(one), within.aligned(other)
            given = within.aligned(np.ones_like(other))
            if whole_along is None or along is None or given is None:
                return float("nan")
            counted = self._real[rows][:, :length, None] * given
            one, other = whole_along[:, :length] * counted, along * counted
        apart = np.abs(one - other).reshape(len(rows), -1).mean(1)
        spread = float(before.std(0).mean()) or 1.0
        return float(apart.max()) / spread

    def _chosen(self, leaf: Array, rows: Array, length: int, name: str) -> Array:
        """These examples, and so many positions, of what is along the sequence: what has nothing beyond them, or the
        same for all.
        """
        own = name == self._sequence.name
        axis = self._sequence.axes.examples if own else 0
        count, whole = self._real.shape
        if not own and leaf.shape[:2] == (whole, count) and whole != count:
            axis = 1  # time first, as the sequence
        if leaf.ndim <= axis or leaf.shape[axis] != count:
            return leaf
        chosen = leaf.take(rows, axis)
        for position in range(leaf.ndim):
            if position == axis or leaf.shape[position] != whole:
                continue
            beyond = np.moveaxis(chosen, (axis, position), (0, 1))[:, length:]
            if own or not beyond.size or bool((beyond == beyond[:1, :1]).all()) or bool((beyond == beyond[:1]).all()):
                chosen = chosen.take(np.arange(length), position)
        return chosen
