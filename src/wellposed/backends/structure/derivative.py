"""How single numbers of an example reach its outputs: many of them moved at once, each in a copy of the example."""

from __future__ import annotations

import numpy as np

from wellposed.backends.structure.program import Program
from wellposed.numerics.arrays import Array

INDEPENDENT = 1e-3  # of the largest singular value: what counts for the rank of a derivative taken by differences
_MOST_PASSES = 16
_STEP = 1e-2  # of the inputs' spread: how far single numbers are moved


def derivative_of(program: Program, place: int, name: str, numbers: Array) -> Array | None:
    """[numbers, outputs] of the first example by these numbers of an input, times a step; None where it takes too many
    passes, or outputs do not have the examples first.
    """
    leaf = program.inputs[name]
    pairs = len(leaf) // 2
    if not pairs or len(numbers) > pairs * _MOST_PASSES:
        return None
    first = {one: _first(array, len(leaf)) for one, array in program.inputs.items()}
    step = _STEP * (float(leaf.std()) or 1.0)
    columns = []
    for start in range(0, len(numbers), pairs):
        chosen = numbers[start : start + pairs]
        moved = first[name].copy()
        flat = moved.reshape(len(leaf), -1)
        rows = np.arange(len(chosen))
        flat[rows, chosen] += step
        flat[pairs + rows, chosen] -= step
        made = program.passed({**first, name: moved}, place)
        if made is None or len(made) != len(leaf):
            return None
        made = made.reshape(len(made), -1).astype(np.float64)
        columns.append(made[rows] - made[pairs + rows])
    return np.concatenate(columns)


def _first(array: Array, rows: int) -> Array:
    """The first example in place of all."""
    return np.repeat(array[:1], rows, 0) if array.ndim and len(array) == rows else array
