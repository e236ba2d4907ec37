"""One tensor whose gradient is wrong, and how any other array fares in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wellposed.gradients.residuals import Residual, Residuals, signed_weights
from wellposed.numerics.arrays import Array, Vector

_LINES = 6
_OWN_DIGITS = 1e-9  # of a slope: what the arrays compared may be off by for rounding alone


class Line(NamedTuple):
    """A direction u within the tensor (flat) and what the claim lacks along it."""

    u: Vector
    missing: Residual


FEWEST_TELLING = 3  # entries: fewer agree with anything by chance


@dataclass
class Suspect:
    """A failing tensor: what is claimed and what was measured of it.

    `claim` and `theta` have the tensor's shape. `data` are the arrays that the loss is computed from, by name;
    `of_double` is the claim for 2 J, where it can be asked for; `pointwise` as `Problem.pointwise`; `alike` are the
    claims for the other tensors of that shape.
    """

    name: str
    claim: Vector
    theta: Vector
    residuals: Residuals
    data: dict[str, Array] = field(default_factory=dict)
    of_double: Vector | None = None
    pointwise: tuple[Callable[[Vector], Vector], Vector] | None = None
    alike: dict[str, Vector] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(1)
        size = self.claim.size
        for _ in range(_LINES):
            self.measure(signed_weights(random, size))

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
        return all(
            abs(line.missing.value - float(change @ line.u)) <= self._allowed(line, truth) for line in self.lines
        )

    def fits_beside_decay(self, rearranged: Callable[[Vector], Vector]) -> bool:
        """Whether the claim rearranged is right, be it all of it or all but an L2 term, which stays where it is.

        For claim = A^-1 g + c theta and truth = g + c theta, truth = A claim + c (theta - A theta).
        """
        moved = rearranged(self.claim)
        return self.fits(moved) or self.coefficients([self.theta - rearranged(self.theta)], moved) is not None

    def coefficients(self, regressors: Sequence[Vector], base: Vector | None = None) -> tuple[Vector, Vector] | None:
        """c and its uncertainty, where base (the claim) + sum of c * regressor agrees with all that was measured; None
        where no c does.
        """
        start = self.claim if base is None else base
        along = np.array([[float(regressor.ravel() @ line.u) for regressor in regressors] for line in self.lines])
        missing = np.array([line.missing.value - float((start - self.claim).ravel() @ line.u) for line in self.lines])
        bars = np.array([max(self._allowed(line, other) for other in (start, *regressors)) for line in self.lines])
        weighted = along / bars[:, None]
        if (
            len(self.lines) <= len(regressors)
            or not np.isfinite(weighted).all()
            or np.linalg.matrix_rank(weighted) < len(regressors)
        ):
            return None
        c = np.linalg.lstsq(weighted, missing / bars, rcond=None)[0]
        if np.any(np.abs(missing - along @ c) > bars):
            return None
        return c, np.sqrt(np.diag(np.linalg.inv(weighted.T @ weighted)))

    def coefficient(self, regressor: Vector) -> tuple[float, float] | None:
        """As `coefficients`, for one."""
        found = self.coefficients([regressor])
        return None if found is None else (float(found[0][0]), float(found[1][0]))

    def _allowed(self, line: Line, other: Vector) -> float:
        terms = float(np.linalg.norm(line.u * self.claim.ravel())) + float(np.linalg.norm(line.u * other.ravel()))
        return 2 * line.missing.bar + _OWN_DIGITS * terms or np.finfo(float).tiny
