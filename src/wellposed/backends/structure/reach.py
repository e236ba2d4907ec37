"""What the last operations of a model let its outputs reach of real targets."""

from __future__ import annotations

from math import inf, prod

import numpy as np

from wellposed.backends.structure.asked import asked_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.shown import Reach
from wellposed.numerics.activations import RANGES
from wellposed.numerics.arrays import Array

_TOWARDS = 0.99  # of the outputs that are asked for anything
_FEWEST = 4  # numbers that a normalisation runs over


def reach_of(targets: Array, ending: str, norm: str, axes: tuple[int, ...], over_one: tuple[str, ...]) -> Reach | None:
    """`ending` is the last operation's name; `norm` that of a normalisation of each example over these axes with no
    weights behind it. None where there is neither, or targets do not vary.
    """
    targets = np.asarray(targets, dtype=np.float64)
    variance = float(targets.var()) if targets.size else 0.0
    if not (ending or norm) or not np.isfinite(targets).all() or not variance:
        return Reach(over_one) if over_one else None
    low, high = RANGES.get(ending, (-inf, inf))
    missed, fixed, by = float(np.square(targets - targets.clip(low, high)).mean()) / variance, "", ending
    if axes and len(targets) > 1 and prod(targets.shape[axis] for axis in axes) >= _FEWEST:
        # A monotone activation behind it leaves the order of such means as it is: they stay together.
        lost = float(targets.mean(axes, keepdims=True).var(0).mean()) / variance
        if lost > missed:
            missed, fixed, by = lost, "mean and spread", norm
    return Reach(over_one, by, fixed, low, high, missed)


def pulls_towards_targets(program: Program) -> bool:
    """Whether the loss sends each output towards a target of its own: what weighs outputs by targets, or compares them
    otherwise, asks for other values.
    """
    for asked in asked_of(program)[:1]:
        for target in program.targets.values():
            if target.shape == asked.outputs.shape and target.dtype.kind == "f":
                apart, asks = asked.outputs - target, asked.slope != 0
                return bool(asks.any()) and float((np.sign(asked.slope) == np.sign(apart))[asks].mean()) >= _TOWARDS
    return False
