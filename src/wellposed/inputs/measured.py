"""What the rules on inputs are judged from: one array, with the moments of its features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wellposed.findings import Finding
from wellposed.inputs.features import Features
from wellposed.numerics.moments import Moments
from wellposed.rule import Rule

_FEW_ROWS = 8  # fewer tell hardly anything of a standard deviation: its own is a quarter of it
_MOSTLY = 0.4  # share of zeros: half of a ReLU's outputs, and most of a bag of words


@dataclass(frozen=True)
class MeasuredInputs:
    """Rows of shape [N, D]. `normalised` says how the model itself scales them, where it does: then their own scale is
    no fault.
    """

    features: Features
    normalised: str = ""

    @cached_property
    def moments(self) -> Moments:
        return Moments.of(self.features.array, self.features.axes)

    @cached_property
    def sparse(self) -> bool:
        """Whether the inputs are counts, shares or activations that are mostly 0 and never below: then 0 has a meaning
        that centring would take away, and features of different sizes share one unit.
        """
        rows = self.features.rows
        return bool(rows.min() >= 0) and float(np.mean(rows == 0)) > _MOSTLY

    @property
    def few(self) -> bool:
        return len(self.features.rows) < _FEW_ROWS

    def leave_open(self, rule: Rule) -> Finding | None:
        """The finding of a rule on spreads where there is none to judge; None where there is."""
        if self.features.rows.shape[0] < 2:
            return rule.undecided("One row says nothing about the spread of a feature.")
        if self.moments.constant.all() or not (self.moments.count > 1).any():
            return rule.undecided("No feature varies, so there is no spread to judge.")
        return rule.holds(message=self.normalised) if self.normalised else None
