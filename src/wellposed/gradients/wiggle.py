"""A loss with a wiggle on it: over steps longer than that the gradient is right, and over shorter ones it is not the
slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wellposed.findings import Evidence, Finding
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.wrong import WRONG
from wellposed.numerics.arrays import Vector

_LONG = 2.0 ** np.arange(-3, -10, -1.0)  # steps, in units of what moves every entry by its own size
_FINE = 2.0**-20
_STAYS, _GONE = 0.5, 0.1  # parts of the disagreement over short steps
_DIRECTIONS = 2


def compare_scales(prober: Prober, names: Sequence[str]) -> Finding | None:
    """WP501 as undecided where, along two directions, what disagrees over short steps is gone over two neighbouring
    long ones.

    An error of the gradient is there over steps of any length: no bend of the loss makes up for it over a step and over
    its half. Some 8 evaluations where there is no wiggle.
    """
    if not names or not prober.exact:
        return None
    steps = []
    for number in range(_DIRECTIONS):
        gone = _gone(prober, prober.directions.jointly(names, along_claim=number == 0))
        if gone is None:
            return None
        steps.append(gone)
    short, long = max(found[0] for found in steps), max(found[1] for found in steps)
    text = (
        f"The loss's slope depends on the step: over steps of {long:.2g} of the parameters' sizes the gradient agrees,"
        f" over short ones it is off by up to {100 * short:.2g} %. The loss has a wiggle of that length, which the"
        " gradient leaves out."
    )
    evidence = (Evidence("disagreement over short steps, of the slope", short, "all tensors", reference="0"),)
    return WRONG.undecided(text, where="all tensors", evidence=evidence)


def _gone(prober: Prober, u: Vector) -> tuple[float, float] | None:
    """The relative disagreement over short steps and the longest step at which it is gone; None where it stays."""
    reach, claimed = prober.directions.reach(u), abs(float(prober.gradient @ u))
    if not claimed:
        return None
    fine = max((prober.difference(u, reach * _FINE * part) for part in (1.0, 0.37)), key=abs)
    middle = [abs(prober.difference(u, reach * float(step))) for step in _LONG[1:3]]
    if not np.isfinite([fine, *middle]).all() or fine == 0 or min(middle) > _STAYS * abs(fine):
        return None
    ends = ([abs(prober.difference(u, reach * float(step))) for step in steps] for steps in (_LONG[:1], _LONG[3:]))
    first, rest = ends
    seen = [*first, *middle, *rest]
    for place in range(len(seen) - 1):
        if max(seen[place : place + 2]) <= _GONE * abs(fine):
            return abs(fine) / claimed, float(_LONG[place])
    return None
