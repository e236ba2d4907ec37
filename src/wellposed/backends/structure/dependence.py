"""How outputs depend on inputs, on a program alone: one example is given another's."""

from __future__ import annotations

import numpy as np

from wellposed.backends.measured import Dependence
from wellposed.backends.structure.asked import asked_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.sequences import largest
from wellposed.numerics.arrays import Array

_FEWEST = 3  # an example, the one whose inputs it gets, and one that must not change


def dependence_of(program: Program, mixer: str = "") -> Dependence | None:
    """None where inputs, outputs and targets do not all have the batch's axis first, or all examples are equal."""
    place = next((asked.place for asked in asked_of(program)), None)
    before = program.before(place)
    leaves = [(name, leaf) for name, leaf in program.inputs.items() if leaf.ndim]
    if before is None or before.ndim < 1 or len(before) < _FEWEST or len(leaves) != 1:
        return None
    ((name, leaf),) = leaves
    targets = [leaf for leaf in program.targets.values() if leaf.ndim]
    if len(leaf) != len(before) or any(len(one) != len(before) for one in targets):
        return None
    flat = leaf.reshape(len(leaf), -1).astype(np.float64)
    other = int(np.abs(flat - flat[0]).sum(1).argmax())
    if not other:
        return None
    change = _change(program, place, before, {name: _with(leaf, 0, leaf[other])})
    if change is None:
        return None
    own, change[0] = float(change[0]), 0.0
    if own == 0:  # in steps, as of a hard choice, two examples may have the same outputs: all are given others
        moved = _change(program, place, before, {name: np.roll(leaf, 1, 0)})
        own = 0.0 if moved is None else float(moved.max())
    return Dependence(own, float(change.max()), mixer)


def _with(leaf: Array, row: int, example: Array) -> Array:
    other = leaf.copy()
    other[row] = example
    return other


def _change(program: Program, place: int | None, before: Array, changed: dict[str, Array]) -> Array | None:
    after = program.passed(changed, place)
    if after is None or after.shape != before.shape:
        return None
    change: Array = np.abs(after - before).reshape(len(before), -1).max(1) / largest(before)
    return change
