"""Slopes along directions within one tensor: claimed by the gradient, measured by differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.derivatives.estimate import Slope
from wellposed.derivatives.noise import noise_level
from wellposed.derivatives.steps import slope
from wellposed.numerics.arrays import Vector
from wellposed.numerics.floats import format_of

# The bar covers the truth in about 99 of 100 cases; a claim that a gradient is wrong must be rarer in error than that.
_BEYOND = 3.0
# Units in the last place that sums in a gradient of that dtype may be off by.
_DIGITS = 8.0


@dataclass(frozen=True)
class Probe:
    """One direction u within a tensor, |u| = 1: the claimed slope g.u beside the measured one.

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
        return abs(self.residual) <= _BEYOND * self.error + self.rounding

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.residual) and np.isfinite(self.error))


class Prober:
    """Measures a problem's slopes at one point. The noise of the loss is measured once, for all directions."""

    def __init__(self, problem: Problem, theta: Vector, gradient: Vector, seed: int = 0) -> None:
        self.problem, self.gradient = problem, gradient
        self.random = np.random.default_rng(seed)
        self._theta = theta
        masks, shapes = problem.untrained(), problem.layout.shapes
        self._untrained = problem.layout.pack({n: masks.get(n, np.zeros(shapes[n])) for n in shapes}) > 0
        self._eps = format_of(problem.dtype).eps
        self._claim_eps = format_of(problem.trained_in or problem.dtype).eps
        self.value = problem.value(self._theta)
        self.repeatable = problem.value(self._theta) == self.value
        rms = float(np.sqrt(np.mean(self._theta**2)))
        self._typical = rms or 1.0
        direction = self.random.standard_normal(self._theta.size)
        direction *= self._typical * np.sqrt(self._theta.size) / np.linalg.norm(direction)
        self.noise, _ = noise_level(self._tilted(direction), 1.0, self._eps)

    def nearby(self) -> Prober:
        """A prober at a random point nearby, where no corner of the loss is met exactly: each entry moved by about 1 %."""
        moved = self._theta + 0.01 * self._sizes() * self.random.standard_normal(self._theta.size)
        theta = self.problem.stored(moved)
        return Prober(self.problem, theta, self.problem.layout.pack_known(self.problem.gradient(theta)))

    def _sizes(self) -> Vector:
        """The typical size of the entries of each tensor, for every entry."""
        sizes = np.full(self._theta.size, self._typical)
        for place in self.problem.layout.slices.values():
            rms = float(np.sqrt(np.mean(self._theta[place] ** 2))) if place.stop > place.start else 0.0
            sizes[place] = rms or self._typical
        return sizes

    def random_direction(self, place: slice) -> Vector:
        """A Gaussian direction within one tensor, of length 1: every entry takes part with a continuous weight."""
        u = np.zeros_like(self._theta)
        u[place] = self.random.standard_normal(place.stop - place.start)
        u[self._untrained] = 0.0
        return u / (float(np.linalg.norm(u)) or 1.0)

    def along_claim(self, place: slice) -> Vector | None:
        """The direction of the claimed gradient within one tensor, where the slope is steepest; None where it is zero."""
        part = self.gradient[place]
        length = float(np.linalg.norm(part))
        if length == 0 or not np.isfinite(length):
            return None
        u = np.zeros_like(self._theta)
        u[place] = part / length
        return u

    def probe(self, u: Vector, *, closer: float = 1.0) -> Probe:
        """The slope of J(theta + t u) - t g.u at t = 0, theta as the problem stores it.

        `closer` shrinks the first steps tried, for a second opinion.
        """
        support = np.flatnonzero(u)
        if support.size == 0:
            return Probe(0.0, 0.0, 0.0, Slope(0.0, 0.0, np.nan, 0))
        size = float(np.sqrt(np.mean(self._theta[support] ** 2))) or self._typical
        # A step of `scale` moves each entry by about the size of the tensor's entries.
        scale = closer * size / float(np.sqrt(np.mean(u[support] ** 2)))
        noise = self.noise if np.isfinite(self.noise) else None
        measured = slope(self._tilted(u), scale=scale, eps=self._eps, f0=self.value, noise=noise)
        rounding = _DIGITS * self._claim_eps * float(np.linalg.norm(self.gradient[support] * u[support]))
        return Probe(float(self.gradient @ u), float(self._theta @ u), rounding, measured)

    def _tilted(self, u: Vector) -> Callable[[float], float]:
        """t -> J(theta') - g.(theta' - theta), theta' = theta + t u as stored: rounding of theta' drops out."""

        support = np.flatnonzero(u)
        start, claim, direction = self._theta[support], self.gradient[support], u[support]

        def along(t: float) -> float:
            theta = self._theta.copy()
            theta[support] = start + t * direction
            theta = self.problem.stored(theta)
            return self.problem.value(theta) - float(claim @ (theta[support] - start))

        return along
