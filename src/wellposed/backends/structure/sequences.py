"""Inputs and outputs as sequences: which axis counts examples, which one positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from wellposed.backends.structure.program import Program
from wellposed.numerics.arrays import Array

_SHORTEST = 4  # positions of a sequence
_SHORTER = 2  # positions that outputs may have less than their input, as a shift takes off
MIXED = 1e-3  # of the largest output: by as much no rounding changes another example
_MAPS, _IMAGE = 3, 4  # axes of a series of vectors, and of a batch of images


class Axes(NamedTuple):
    """Of an array: the axis that counts examples and those that count positions, two of them in an image, row by
    row.
    """

    examples: int
    positions: tuple[int, ...]

    def steps(self, array: Array) -> Array:
        """[examples, positions, ...]."""
        front = (self.examples, *self.positions)
        moved = np.moveaxis(array, front, range(len(front)))
        return moved.reshape(moved.shape[0], -1, *moved.shape[len(front) :])

    def unstepped(self, steps: Array, shape: tuple[int, ...]) -> Array:
        """The array of that shape whose `steps` these are."""
        front = (self.examples, *self.positions)
        rest = [size for axis, size in enumerate(shape) if axis not in front]
        return np.moveaxis(steps.reshape([shape[axis] for axis in front] + rest), range(len(front)), front)


PLAIN = Axes(0, (1,))
_RASTER, _GRID = Axes(0, (2, 3)), Axes(0, (1, 2))


class Sequence(NamedTuple):
    name: str
    leaf: Array
    axes: Axes

    @property
    def steps(self) -> Array:
        return self.axes.steps(self.leaf)

    @property
    def tokens(self) -> bool:
        return self.leaf.dtype.kind in "iu"

    @property
    def length(self) -> int:
        return int(self.steps.shape[1])

    def aligned(self, made: Array | None, *, ends: bool = False) -> Array | None:
        """Outputs, or what belongs to them, as [examples, positions, numbers], with zeros at positions that have none;
        None where they do not have the sequence's positions, all but the last ones at least. With `ends` fewer ones
        are the last of them, and of more the last are the sequence's, as behind a prefix.
        """
        if made is None:
            return None
        rows, length = self.steps.shape[:2]
        if len(self.axes.positions) > 1:
            return self._of_image(made)
        for count in range(length, length - _SHORTER - 1, -1):
            if made.ndim == 2 and made.shape[0] == rows * count and made.shape[1] != length:
                first = self.axes.examples < self.axes.positions[0]
                steps = made.reshape(rows, count, -1) if first else made.reshape(count, rows, -1).swapaxes(0, 1)
                return np.pad(steps, ((0, 0), (0, length - count), (0, 0)))
        for axes in (self.axes, PLAIN, Axes(0, (2,)), Axes(1, (0,))):
            position = axes.positions[0]
            if max(axes.examples, position) >= made.ndim or made.ndim > _MAPS or made.shape[axes.examples] != rows:
                continue
            count = made.shape[position]
            if length - _SHORTER <= count <= length or (ends and count > 1):
                steps = axes.steps(made)
                steps = steps if steps.ndim == _MAPS else steps[..., None]
                missing = max(length - count, 0)
                before, after = (missing, 0) if missing > _SHORTER else (0, missing)
                return np.pad(steps[:, max(count - length, 0) :], ((0, 0), (before, after), (0, 0)))
        return None

    def _of_image(self, made: Array) -> Array | None:
        rows, length = self.steps.shape[:2]
        sides = tuple(self.leaf.shape[axis] for axis in self.axes.positions)
        for axes in (self.axes, _RASTER, _GRID):
            if made.ndim > max(axes.positions) and tuple(made.shape[axis] for axis in axes.positions) == sides:
                steps = axes.steps(made)
                return (steps if steps.ndim == _MAPS else steps[..., None]) if len(made) == rows else None
        for axes in (Axes(0, (2,)), PLAIN):
            if made.ndim == _MAPS and len(made) == rows and made.shape[axes.positions[0]] == length:
                return axes.steps(made)
        return None

    def covered(self, made: Array | None) -> bool:
        """Whether outputs have all of its positions."""
        aligned = None if made is None else self.aligned(np.ones_like(made))
        return aligned is not None and bool(aligned.all())

    def exchanged(self, positions: slice) -> Mapping[str, Array]:
        """Another example's elements there."""
        steps = self.steps.copy()
        steps[:, positions] = np.roll(steps[:, positions], 1, 0)
        return self.replaced(steps)

    def replaced(self, steps: Array) -> Mapping[str, Array]:
        return {self.name: self.axes.unstepped(steps, self.leaf.shape)}


def sequences_in(inputs: Mapping[str, Array]) -> Iterator[Sequence]:
    """What may be sequences, as each of its axes may count what it likes."""
    for name, leaf in inputs.items():
        if leaf.dtype.kind not in "iuf":
            continue
        choices: tuple[Axes, ...] = ()
        if leaf.ndim == _MAPS and leaf.dtype.kind != "f":
            choices = (_GRID,)
        elif leaf.ndim in (2, _MAPS):
            choices = (PLAIN, Axes(1, (0,))) + ((Axes(0, (2,)),) if leaf.ndim == _MAPS else ())
        elif leaf.ndim == _IMAGE:
            choices = tuple(
                axes for axes in (_RASTER, _GRID) if min(leaf.shape[axis] for axis in axes.positions) >= _SHORTEST
            )
        for axes in choices:
            sequence = Sequence(name, leaf, axes)
            if leaf.shape[axes.examples] > 1 and sequence.length >= _SHORTEST:
                yield sequence


def largest(array: Array) -> float:
    """The largest magnitude, as a scale: 1 where all is nothing."""
    return float(np.abs(array).max(initial=0.0)) or 1.0


def counts_examples(program: Program, place: int, sequence: Sequence, *, ends: bool = False) -> bool:
    """Whether what is taken for the axis of examples is one: another first example changes no other's outputs."""
    key = place, sequence.name, sequence.axes, ends
    if key not in program.memo:
        steps = sequence.steps.copy()
        steps[0] = steps[1]
        before = sequence.aligned(program.before(place), ends=ends)
        after = sequence.aligned(program.passed(sequence.replaced(steps), place), ends=ends)
        if before is None or after is None:
            program.memo[key] = False
        else:
            program.memo[key] = float(np.abs(after - before)[1:].max()) <= MIXED * largest(before)
    found: bool = program.memo[key]
    return found
