"""What a model is asked for along a sequence, and what it sees: the future is exchanged, and the past must not move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wellposed.backends.structure.asked import Asked, asked_of
from wellposed.backends.structure.derivative import INDEPENDENT, derivative_of
from wellposed.backends.structure.program import UNCHANGED, Program
from wellposed.backends.structure.sequences import Sequence, counts_examples, largest, sequences_in
from wellposed.backends.structure.shown import LEAKS, MATCHES, Succession
from wellposed.numerics.arrays import Array

_MOST_LAG = 2  # positions that a model may shift its inputs by itself
_MOST_OUTPUTS = 3  # that are looked at one after the other
_LONG_ENOUGH = 2.0  # positions of a document, on average


def successions_of(program: Program) -> list[Succession]:
    found: dict[tuple[int, str], Succession] = {}
    for asked in asked_of(program)[:_MOST_OUTPUTS]:
        for sequence in sequences_in(program.inputs):
            key = asked.place, sequence.name
            if key not in found and (seen := _succession(program, asked, sequence)) is not None:
                found[key] = seen
    return list(found.values())


def _succession(program: Program, asked: Asked, sequence: Sequence) -> Succession | None:
    """None where the outputs are not along the sequence, or not asked for its elements."""
    ends = sequence.aligned(asked.slope) is None
    where = asked.where(sequence, ends=ends)
    if where is None or not where.any():
        return None
    matches = asked.matches(sequence, ends=ends)
    if max((share for share in matches.values() if share == share), default=0.0) < MATCHES:
        return None
    if not asked.alike or not counts_examples(program, asked.place, sequence, ends=ends):
        return None
    return _Look(program, asked.place, sequence, where, ends).seen(matches)


class _Look:
    def __init__(self, program: Program, place: int, sequence: Sequence, where: Array, ends: bool) -> None:
        self._program, self._place, self._sequence = program, place, sequence
        self._where, self._ends = where, ends

    def seen(self, matches: Mapping[int, float]) -> Succession:
        """The last two thirds, and the last third, of what is asked for are given to another example."""
        short = self._ends and not self._where[:, 0].any()
        unknown = Succession(self._sequence.name, matches, horizon=short, tokens=self._sequence.tokens)
        asked_at = np.flatnonzero(self._where.any(0))
        first, count = int(asked_at[0]), int(asked_at[-1] - asked_at[0]) + 1
        leak, own, past, enters = 0.0, 0.0, 0.0, ""
        for start in sorted({first + max(1, count // 3), first + max(1, 2 * count // 3)}):
            later = self._change(self._sequence.exchanged(slice(start, None)))
            if later is None:
                return unknown
            earlier = float((later * self._where)[:, :start].max(initial=0.0))
            if earlier > leak:
                leak, enters = earlier, self._first_moved(start) or enters
            own = max(own, float(later[:, start:].max(initial=0.0)))
            before = self._change(self._sequence.exchanged(slice(0, start)))
            past = past if before is None else max(past, float(before[:, start:].max(initial=0.0)))
        moved = self._moved(first, count)
        for at, change in moved.items():  # what reads patches sees ahead within each alone
            leak = max(leak, max(change[:at], default=0.0))
        known = replace(unknown, leak=leak, own=own, past=past, lag=_lag(moved), enters=enters, moved=moved)
        return self._across_documents(replace(known, hidden=self._program.draws or self._narrow(first + count // 2)))

    def _narrow(self, at: int) -> bool:
        """Whether fewer numbers reach the outputs at a position than the input has there."""
        if self._sequence.tokens or self._sequence.steps.ndim == 2:
            return False
        leaf = self._sequence.leaf
        steps = self._sequence.axes.steps(np.arange(leaf.size).reshape(leaf.shape))
        if self._sequence.axes.examples or steps.shape[2] > len(leaf) // 2:
            return False
        derivative = derivative_of(self._program, self._place, self._sequence.name, steps[0, at].ravel())
        before = self._program.before(self._place)
        if derivative is None or before is None:
            return False
        places = np.broadcast_to(np.arange(before[0].size).reshape(before[0].shape), before.shape)
        there = self._sequence.aligned(places, ends=self._ends)
        assert there is not None
        singular = np.linalg.svd(derivative[:, there[0, at]], compute_uv=False)
        return bool((singular > INDEPENDENT * singular[0]).sum() < len(singular))

    def _change(self, changed: Mapping[str, Array]) -> Array | None:
        """Of the outputs at each position, over the largest output."""
        before, after = (
            self._sequence.aligned(made, ends=self._ends)
            for made in (self._program.before(self._place), self._program.passed(changed, self._place))
        )
        if before is None or after is None or before.shape != after.shape:
            return None
        change: Array = np.abs(after - before).max(-1) / largest(before)
        return change

    def _moved(self, first: int, count: int) -> dict[int, tuple[float, ...]]:
        """By some positions, as at one all examples may have the same element; before them only what is asked for."""
        found = {}
        for part in sorted({count // 4, count // 2, 3 * count // 4, max(count // 2 - 1, 0)}):
            change = self._change(self._sequence.exchanged(slice(first + part, first + part + 1)))
            if change is None:
                return {}
            change[:, : first + part] *= self._where[:, : first + part]
            found[first + part] = tuple(map(float, change.max(0)))
        return found

    def _across_documents(self, known: Succession) -> Succession:
        """Where another input tells documents in one row apart, the first one of each row is exchanged."""
        for name, leaf in self._program.inputs.items():
            if name == self._sequence.name or leaf.shape != self._sequence.leaf.shape or leaf.dtype.kind not in "iu":
                continue
            documents = _documents(self._sequence.axes.steps(leaf))
            if documents is None:
                continue
            steps = self._sequence.steps.copy()
            first = documents == 0
            steps[first] = np.roll(steps, 1, 0)[first]
            change = self._change(self._sequence.replaced(steps))
            if change is not None:
                return replace(known, documents=name, from_before=float((change * (documents > 0)).max()))
        return known

    def _first_moved(self, start: int) -> str:
        """The first part of the model whose outputs before a position change with what comes from there on."""
        first: dict[tuple[str, int], Array] = {}
        moved: list[str] = []
        calls: dict[str, int] = {}

        def made(name: str, array: Array) -> tuple[tuple[str, int], Array] | None:
            calls[name] = calls.get(name, -1) + 1
            steps = self._sequence.aligned(array) if array.ndim > 2 else None
            if steps is None:
                return None
            return (name, calls[name]), steps[:, :start] * self._where[:, :start, None]

        def note(name: str, array: Array) -> None:
            if (told := made(name, array)) is not None:
                first[told[0]] = told[1]

        def compare(name: str, array: Array) -> None:
            if moved or (told := made(name, array)) is None or told[0] not in first:
                return
            before = first[told[0]]
            if np.abs(told[1] - before).max(initial=0.0) > LEAKS * np.abs(before).max(initial=0.0):
                moved.append(name)

        self._program.watched(UNCHANGED, self._place, note)
        calls.clear()
        self._program.watched(self._sequence.exchanged(slice(start, None)), self._place, compare)
        return moved[0] if moved else ""


def _lag(moved: Mapping[int, tuple[float, ...]]) -> int:
    """How many positions later an element first shows."""
    lags = []
    for at, change in moved.items():
        later = [k for k, size in enumerate(change[at : at + _MOST_LAG + 1]) if size > LEAKS]
        lags += later[:1]
    return min(lags, default=0)


def _documents(numbers: Array) -> Array | None:
    """Which document each position belongs to: numbers that stay within one, or count its positions from 0."""
    if numbers.ndim != 2:
        return None
    steps = np.diff(numbers.astype(np.int64), axis=1)
    stays = bool(((steps == 0) | (steps == 1)).all()) and bool((numbers[:, 0] == numbers[0, 0]).all())
    counts = bool(((steps == 1) | (numbers[:, 1:] == 0)).all()) and bool((numbers[:, 0] == 0).all())
    if stays:
        documents = numbers - numbers[:, :1]
    elif counts:
        documents = (numbers == 0).cumsum(1) - 1
    else:
        return None
    several = int(documents[:, -1].max()) > 0 and _irregular(documents)
    long = numbers.shape[1] / (float(documents[:, -1].mean()) + 1) > _LONG_ENOUGH
    return documents if several and long else None


def _irregular(documents: Array) -> bool:
    """Whether they are of several lengths, as rows and hours are not; the last of a row may be cut."""
    lengths = set()
    for row in documents:
        lengths.update(np.diff(np.flatnonzero(np.diff(row, prepend=-1))).tolist())
    return len(lengths) > 1
