"""Which of many tensors are wrong: two evaluations for each, four where they disagree, once a direction through all has
disagreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.residuals import Residual, Residuals, signed_weights
from wellposed.numerics.arrays import Vector

_WRONG_BARS = 3.0  # bars


def screen(prober: Prober, names: Sequence[str], u: Vector, joint: Probe, visible: float) -> dict[str, bool | None]:
    """True for a tensor that is wrong, False for one that is right along a random direction, where an error of the
    visible part of it would have shown; None for one to be looked at more closely.

    `joint` is a probe along u, through all tensors: its bend sets the steps.
    """
    length = float(np.linalg.norm(u))
    unit = replace(
        joint, slope=replace(joint.slope, third=joint.slope.third / length**3, step=joint.slope.step * length)
    )
    found = {}
    for name in names:
        place = prober.problem.layout.slices[name]
        residuals = Residuals(prober, place, [unit])
        weights = signed_weights(np.random.default_rng(place.start), place.stop - place.start)
        size = float(np.linalg.norm(prober.gradient[place] * weights * residuals.sizes))
        first = residuals.of(weights)
        found[name] = (
            False if _right(first, visible * size) else _clear(residuals.twice(weights, first), visible * size)
        )
    return found


def _right(residual: Residual, visible: float) -> bool:
    return residual.zero and residual.bar <= visible


def _clear(residual: Residual, visible: float) -> bool | None:
    if abs(residual.value) > _WRONG_BARS * residual.bar:
        return True
    return False if _right(residual, visible) else None
