"""One tensor whose gradient is wrong, and how any other array fares in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wellposed.gradients.residuals import Residual, Residuals
from wellposed.numerics.arrays import Array, Vector

_LINES = 4
_OWN_DIGITS = 1e-9  # of a slope: what the arrays compared may be off by for rounding alone


class Line(NamedTuple):
    """A direction u within the tensor (flat) and what the claim lacks along it."""

    u: Vector
    missing: Residual


@dataclass
class Suspect:
    """A failing tensor: what is claimed and what was measured of it.

    `claim` and `theta` have the tensor's shape. `data` are the arrays that the loss is computed from, by name; `of_double` is the
    claim for 2 J, where it can be asked for; `pointwise` as `Problem.pointwise`.
    """

    name: str
    claim: Vector
    theta: Vector
    residuals: Residuals
    data: dict[str, Array] = field(default_factory=dict)
    of_double: Vector | None = None
    pointwise: tuple[Callable[[Vector], Vector], Vector] | None = None
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(1)
        size = self.claim.size
        for _ in range(_LINES):
            self.measure(random.uniform(0.5, 1.5, size) * random.choice([-1.0, 1.0], size))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.claim.shape

    def measure(self, weights: Vector) -> Line:
        """What is missing along w times the entries' sizes; kept for every later comparison."""
        line = Line(weights.ravel() * self.residuals.sizes, self.residuals.of(weights.ravel()))
        self.lines.append(line)
        return line

    @property
    def seen(self) -> bool:
        """Whether the error stands out along most lines; where it does not, anything would fit."""
        return sum(not line.missing.zero for line in self.lines[:_LINES]) > _LINES / 2

    def fits(self, truth: Vector) -> bool:
        """Whether this array, in place of the claim, agrees with all that was measured."""
        change = (truth - self.claim).ravel()
        return all(abs(line.missing.value - float(change @ line.u)) <= self._allowed(line, truth) for line in self.lines)

    def coefficient(self, regressor: Vector) -> tuple[float, float] | None:
        """c and its uncertainty, where claim + c * regressor agrees with all that was measured; None where no c does."""
        flat = regressor.ravel()
        along = np.array([float(flat @ line.u) for line in self.lines])
        missing = np.array([line.missing.value for line in self.lines])
        bars = np.array([self._allowed(line, regressor) for line in self.lines])
        norm = float(np.sum((along / bars) ** 2))
        if not norm or not np.isfinite(norm):
            return None
        c = float(np.sum(along * missing / bars**2)) / norm
        if np.any(np.abs(missing - c * along) > bars):
            return None
        return c, 1 / float(np.sqrt(norm))

    def _allowed(self, line: Line, other: Vector) -> float:
        terms = float(np.linalg.norm(line.u * self.claim.ravel())) + float(np.linalg.norm(line.u * other.ravel()))
        return 2 * line.missing.bar + _OWN_DIGITS * terms or np.finfo(float).tiny
