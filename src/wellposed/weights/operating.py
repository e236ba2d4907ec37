"""Where on its curve an activation should work in a deep network without normalisation or skips.

An exact gain keeps the length of the signal, and still a deep plain network does not train: its inputs grow alike, or
the network becomes as steep in some directions as it is flat in others. What does both is the nonlinearity of a layer,
N = q E[phi'^2] / Var[phi], the factor by which a small difference between two inputs grows over what the layer's length
does once its mean is taken away (the square of the nonlinearity coefficient of Philipp 2017, and the local slope C'(1)
of Martens et al. 2021). Over L layers it is the product. So the operating point q = E[z^2] is chosen such that N^L
stays below a budget. In pairs of units u and -u (looks-linear, Balduzzi et al. 2017) the even part of phi cancels, and
N is that of the odd part: for ReLU, GELU or SiLU it is 1 at any q.

Of the points within the budget the best is the one that a step of training disturbs least. A step moves all entries of
a layer by about the same amount (Adam), so it moves a pre-activation by 1 + n E[phi^2]^1/2 times that at most (the
bias, and n inputs that agree), against its own size sqrt(q): too small a q makes biases coarse, a mean far from 0 makes
weights coarse. Among points that are nearly as good the one with most nonlinearity is taken: the largest q up to 1, and
for pairs, which are linear at any q until training parts them, the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.numerics.activations import Activation, odd_part
from wellposed.numerics.gaussian import Expectations, expectations

BUDGET = 3.0
_COARSE = 6
_GRID = np.geomspace(1e-6, 1e8, 57)
_AS_GOOD = 1.1
_EVEN = 1e-9


@dataclass(frozen=True, slots=True)
class Point:
    """An operating point: pre-activations of mean square `q`, in pairs u and -u or not.

    `mean` is what a bias takes away of each unit's output, 0 for pairs. `square` is the mean square that independent
    weights of the next layer work with: Var[phi], or E[(phi(u) - phi(-u))^2] / 2 for pairs. `nonlinearity` is N of one
    layer.
    """

    q: float
    pairs: bool
    mean: float
    square: float
    nonlinearity: float


def operating_point(
    phi: Activation, depth: int, width: float, *, pairs: bool = True, budget: float = BUDGET
) -> Point | None:
    """The point for `depth` layers of `width` inputs each; None where no point on the grid stays within the budget.

    An activation with an even part beyond a constant stands in pairs where it may: that part makes lengths unstable
    too, as one input that is a little longer than the others grows faster than they do.
    """
    kinds = (True, False) if pairs and _has_even_part(phi) else (False,)
    for paired in kinds:
        found = _within(phi, depth, width, paired, budget)
        if found:
            least = min(disturbed for disturbed, _ in found)
            good = [point for disturbed, point in found if disturbed <= _AS_GOOD * least]
            return (
                good[0]
                if paired
                else max((point for point in good if point.q <= 1), key=lambda point: point.q, default=good[0])
            )
    return None


def _has_even_part(phi: Activation) -> bool:
    even = expectations(lambda z: 0.5 * (phi(z) + phi(-z)), 1.0, _COARSE)
    return bool(even.square - even.mean**2 > _EVEN * max(expectations(phi, 1.0, _COARSE).square, 1e-300))


def _within(phi: Activation, depth: int, width: float, paired: bool, budget: float) -> list[tuple[float, Point]]:
    found = []
    for q in _GRID:
        at = expectations(phi, q, _COARSE)
        point = _point(phi, at, paired)
        if point is not None and depth * np.log(point.nonlinearity) <= np.log(budget):
            disturbed = (1 + width * at.square**0.5) / q**0.5
            found.append((disturbed, point))
    return found


def _point(phi: Activation, at: Expectations, paired: bool) -> Point | None:
    of = expectations(odd_part(phi), at.q, _COARSE) if paired else at
    square = of.square - (0.0 if paired else of.mean**2)
    if not (np.isfinite(at.square) and of.slope_square > 0 and square > 1e-12 * at.square):
        return None
    return Point(
        at.q,
        paired,
        0.0 if paired else of.mean,
        2 * square if paired else square,
        max(at.q * of.slope_square / square, 1.0),
    )
