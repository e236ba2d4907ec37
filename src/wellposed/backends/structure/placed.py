"""Whether an example's outputs know where in the batch it stands."""

from __future__ import annotations

import numpy as np

from wellposed.backends.structure.asked import asked_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.sequences import MIXED, largest
from wellposed.numerics.arrays import Array

_FEWEST = 3  # examples


def by_place_of(program: Program) -> float:
    """How far outputs are from those of the same examples at other places in the batch, over the largest output; NaN
    where not all inputs and outputs have the examples first and nowhere else, inputs are not known to be all, or random
    numbers are drawn.
    """
    unknown = float("nan")
    if program.draws or not program.complete or not program.inputs:
        return unknown
    place = next((asked.place for asked in asked_of(program)), None)
    before = program.before(place)
    if before is None or not before.ndim or len(before) < _FEWEST:
        return unknown
    rows = len(before)
    shapes = [before.shape, *(leaf.shape for leaf in program.inputs.values())]
    if any(shape[:1] != (rows,) or rows in shape[1:] for shape in shapes):
        return unknown
    alone = program.passed({name: _exchanged(leaf) for name, leaf in program.inputs.items()}, place)
    if alone is None or alone.shape != before.shape:
        return unknown
    if np.abs(alone - before)[1::2].max() > MIXED * largest(before):
        return unknown  # what the first axis counts are no examples
    after = program.passed({name: np.roll(leaf, 1, 0) for name, leaf in program.inputs.items()}, place)
    if after is None or after.shape != before.shape:
        return unknown
    return float(np.abs(after - np.roll(before, 1, 0)).max()) / largest(before)


def _exchanged(leaf: Array) -> Array:
    """Every second example, the first one first, is as the one before it."""
    other = leaf.copy()
    other[::2] = np.roll(leaf, 1, 0)[::2]
    return other
