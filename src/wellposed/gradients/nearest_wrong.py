"""The wrong tensor nearest to the loss, in a few evaluations: a direction through all of them is halved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wellposed.derivatives.ladder import SIGMAS
from wellposed.gradients.prober import Prober

_CLEAR = 3.0  # bars of the whole direction: what a part of it lacks beyond is an error


def find_nearest_wrong(prober: Prober, names: Sequence[str]) -> str:
    """Of tensors in the order in which a run uses them: the last one that is wrong. "" where no direction through all
    shows an error clearly, or it is lost on the way.

    An error in a layer corrupts every gradient before it, so that the last one holds it. What one half lacks along the
    direction, by one difference, tells which half to go on with: the later one where it is wrong, else the earlier one.
    The step balances noise against the bend that the whole direction has shown. Errors of a half that cancel are missed
    with the chance that random numbers add up to nothing.
    """
    u = prober.directions.jointly(names)
    joint = prober.glanced(u, 0.0)
    third, noise = joint.slope.third, prober.eps * abs(prober.value)
    if not joint.smooth or not np.isfinite(third):
        return ""
    h = min(joint.slope.step, (noise / third) ** (1 / 3) / 2) if third else joint.slope.step
    bar = SIGMAS * noise / (np.sqrt(2) * h) + 2 * third * h**2 + joint.allowed
    if not abs(joint.residual) > 2 * _CLEAR * bar:
        return ""
    left = list(names)
    while len(left) > 1:
        later = left[len(left) // 2 :]
        part = np.zeros_like(u)
        for name in later:
            place = prober.problem.layout.slices[name]
            part[place] = u[place]
        lacking = prober.difference(part, h)
        if abs(lacking) > _CLEAR * bar:  # the half may bend more than the whole does: what a shorter step changes
            finer = prober.difference(part, h / 2)
            lacking, apart = finer, abs(lacking - finer)
            wrong = abs(lacking) > _CLEAR * (2 * bar + apart)
        else:
            wrong = False
        if not np.isfinite(lacking):
            return ""
        left = later if wrong else left[: len(left) // 2]
    return left[0]
