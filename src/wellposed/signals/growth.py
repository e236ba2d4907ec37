"""How a size changes from layer to layer, and where it leaves the trend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from wellposed.numerics.arrays import Vector

_FEWEST_STEPS = 4  # of which one can be an outlier

_ALONE = np.log(30)
_CLEAR = np.log(3)
_MADS = 8.0


@dataclass(frozen=True)
class Growth:
    """How a size changes from site to site: `factors[i]` = size[i + 1] / size[i], length L - 1.

    `total` is their product, `typical` their geometric mean and `interval` its 95 % confidence interval (by Student's t
    over the logarithms; NaN for fewer than two factors). `outlier` is the index of a factor that stands out: it alone
    makes the total what it is, or lies far from the median of the others; None where the trend is shared.
    """

    factors: Vector
    outlier: int | None

    @property
    def total(self) -> float:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.exp(np.sum(np.log(self.factors))))

    @property
    def typical(self) -> float:
        return float(np.exp(np.mean(np.log(self.factors))))

    @property
    def interval(self) -> tuple[float, float]:
        logs = np.log(self.factors)
        if logs.size < 2:
            return float("nan"), float("nan")
        half = special.stdtrit(logs.size - 1, 0.975) * logs.std(ddof=1) / np.sqrt(logs.size)
        return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


def growth(sizes: Sequence[float]) -> Growth:
    """Growth along positive, finite sizes of length L >= 2."""
    steps = np.diff(np.log(np.asarray(sizes, dtype=np.float64)))
    return Growth(np.exp(steps), _outlier(steps))


def _outlier(steps: Vector) -> int | None:
    """The one step that is off the trend: the others together are within a factor of 30, or agree with each other and
    not with it.
    """
    worst = int(np.argmax(np.abs(steps)))
    rest = float(steps.sum() - steps[worst])
    if abs(rest) < _ALONE < abs(steps[worst]):
        return worst
    if steps.size < _FEWEST_STEPS:
        return None
    apart = np.abs(steps - np.median(steps))
    worst = int(np.argmax(apart))
    others = np.delete(apart, worst)
    # 1.4826 MAD is a standard deviation for normal numbers.
    stands_out = apart[worst] > max(_CLEAR, _MADS * 1.4826 * float(np.median(others)), 3 * float(others.max()))
    telling = abs(steps[worst]) > 0.5 * abs(float(steps.sum())) and np.sign(steps[worst]) == np.sign(steps.sum())
    return worst if stands_out and telling else None
