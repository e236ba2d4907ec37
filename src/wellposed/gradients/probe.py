"""What one direction shows: the slope that the gradient claims beside the one that was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.derivatives.estimate import Slope

# The bar covers the truth in about 99 of 100 cases; a claim that a gradient is wrong must be rarer in error than that.
_BARS_ALLOWED = 2.0


@dataclass(frozen=True)
class Probe:
    """One direction u: the claimed slope g.u beside the measured one.

    `error` is the bar of `measured`. `weight` is w.u, the slope of half the tensor's squared norm,
    which tells a missing penalty.
    """

    claimed: float
    weight: float
    rounding: float  # what the claim's own last digits, in the dtype trained in, can make of g.u
    slope: Slope  # of the loss minus its claimed linear part: 0 where the gradient is right

    @property
    def residual(self) -> float:
        return self.slope.value

    @property
    def error(self) -> float:
        return self.slope.error

    @property
    def measured(self) -> float:
        return self.claimed + self.slope.value

    @property
    def agrees(self) -> bool:
        return abs(self.residual) <= self.allowed

    @property
    def allowed(self) -> float:
        """The largest residual that proves nothing."""
        return _BARS_ALLOWED * self.error + self.rounding

    @property
    def smooth(self) -> bool:
        """Known, and neither a kink nor a jump."""
        return self.known and not self.slope.kink and not self.slope.jump

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.residual) and np.isfinite(self.error))
