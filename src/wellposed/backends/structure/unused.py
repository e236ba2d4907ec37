"""Whether a loss uses the data that it is given: what it uses in their place nobody has seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wellposed.backends.structure.program import Program
from wellposed.numerics.arrays import Array


def unused_in(program: Program) -> tuple[str, ...]:
    """ "targets" where other targets change nothing of what the loss sends to the outputs, and "inputs" too where other
    inputs change no output. Empty where it cannot be told: data that are the same for all examples, or given twice.
    """
    targets = {name: other for name, leaf in program.targets.items() if (other := _other(leaf)) is not None}
    given_twice = any(np.array_equal(one, leaf) for one in program.inputs.values() for leaf in program.targets.values())
    if not targets or given_twice or len(targets) < len(program.targets) or not program.all_sent:
        return ()
    if not all(_sends_the_same(program, place, outputs, targets) for place, outputs, _ in program.all_sent):
        return ()
    return ("inputs", "targets") if _makes_the_same(program) else ("targets",)


def _sends_the_same(program: Program, place: int, outputs: Array, targets: Mapping[str, Array]) -> bool:
    here, there = program.slope_at(place, outputs), program.slope_at(place, outputs, targets)
    return here is not None and there is not None and np.array_equal(here, there)


def _makes_the_same(program: Program) -> bool:
    inputs = {name: other for name, leaf in program.inputs.items() if (other := _other(leaf)) is not None}
    before = program.before(None)
    if not inputs or before is None:
        return False
    after = program.passed(inputs)
    return after is not None and np.array_equal(before, after)


def _other(leaf: Array) -> Array | None:
    """Each example with its neighbour's; None where that changes nothing."""
    moved = np.roll(leaf, 1, 0) if leaf.ndim else leaf
    return None if np.array_equal(moved, leaf) else moved
