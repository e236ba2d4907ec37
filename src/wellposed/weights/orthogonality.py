"""What speaks against a suspicion that the size of the weights alone raises.

Theory is that of independent weights. Units in pairs u and -u, orthogonal maps and operating points other than 1 are
made with care: there the run itself decides.
"""

from __future__ import annotations

import numpy as np

from wellposed.backends.measured import WeightUse
from wellposed.numerics.arrays import Vector
from wellposed.signals.site import Site
from wellposed.weights.draw import Maps

_LENGTHS_EQUAL = 0.02
_FEWEST, _LARGEST_SIDE = 4, 1024


def orthogonal(weight: Vector, use: WeightUse) -> bool:
    """Whether all singular values that are not 0 are alike: orthogonal maps, in pairs or not. They follow a gain, and
    no fan.
    """
    maps = Maps(weight.shape, use.out_axes, use.in_axes)
    if maps.sizes[0] != 1 or min(maps.sizes[1:]) > _LARGEST_SIDE:
        return False
    matrix = maps.fold(weight)[0]
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    trace, square = float(np.trace(gram)), float(np.sum(gram**2))
    if not (0 < trace < np.inf and 0 < square < np.inf) or trace**2 / square < _FEWEST:
        return False
    return bool(np.linalg.norm(gram @ gram - square / trace * gram) < _LENGTHS_EQUAL * np.linalg.norm(gram @ gram))


def borne_out(theory: float, sites: list[Site]) -> float:
    """The log of a factor on the gradient over several layers, as far as the gradients at the first and the last of
    them show it.
    """
    first, last = sites[0].gradient, sites[-1].gradient
    if len(sites) < 2 or not (0 < first < np.inf and 0 < last < np.inf):
        return theory
    return measure_agreement(theory, float(np.log(first / last)))


def measure_agreement(one: float, other: float) -> float:
    """What two logarithms say alike: the one nearer to 0; 0 where their signs differ."""
    return 0.0 if one * other <= 0 else float(np.copysign(min(abs(one), abs(other)), one))
