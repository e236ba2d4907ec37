"""An estimate of a derivative: the value, how far it may be off, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.numerics.arrays import Array, Vector


@dataclass(frozen=True, slots=True)
class Slope:
    """The derivative of a function of one number at 0.

    `error` bounds |value - f'(0)|; it is infinity, and `reason` says why, where nothing can be known. `left` and
    `right` are the one-sided derivatives where they differ by more than their error (a kink or, with `jump`, a
    discontinuity at 0); NaN elsewhere. `third` bounds |f'''/6|, by which a two-sided difference of step h is off by
    third h^2; NaN where nothing bounds it.
    """

    value: float
    error: float
    step: float
    evaluations: int
    reason: str = ""
    left: float = np.nan
    right: float = np.nan
    jump: bool = False
    third: float = np.nan

    @property
    def kink(self) -> bool:
        return self.left == self.left and not self.jump


@dataclass(frozen=True, slots=True)
class Estimate:
    """A derivative with an error bar; floats, or arrays of one shape for several components.

    `value` is NaN and `error` infinity where the derivative cannot be known, and `reason` says why:
    f is not finite, constant to the last digit, or has a kink or a jump there. `step` is the half
    width of the stencil (NaN where there is none), `evaluations` the number of points at which f was
    evaluated.
    """

    value: float | Vector | Array
    error: float | Vector
    step: float | Vector
    evaluations: int
    reason: str = ""
