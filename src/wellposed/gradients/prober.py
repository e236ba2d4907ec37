"""Measures slopes of the loss along directions, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from wellposed.backends.measured import Uncut
from wellposed.backends.protocol import Problem
from wellposed.derivatives.coroutines import Answer, run
from wellposed.derivatives.estimate import Slope
from wellposed.derivatives.noise import Noise, noise_level
from wellposed.derivatives.steps import first_step, slope
from wellposed.gradients.directions import Directions
from wellposed.gradients.effort import Budget
from wellposed.gradients.probe import Probe
from wellposed.numerics.arrays import Vector
from wellposed.numerics.floats import format_of
from wellposed.numerics.theta import Gradient
from wellposed.users_code import Raised, attempt

_SIXTEEN_BITS, _EXACT_EPS = 1e-4, 1e-10  # precision of a loss: coarser is of 16 bits, finer is float64's

# Units in the last place that sums in a gradient of that dtype may be off by.
_CLAIM_ULPS = 8.0
_ENOUGH = 1e-8  # of the claimed slope: a bar below that needs no improvement
_FURTHEST_OF_SIZE = 1.0  # times its own size is an entry moved at most: further out a loss may be anything
_CLOSER_POWER = 0.15  # power of eps: 1/222 in float64, 1/11 in float32, 1/2 in bfloat16
_WILD = 8.0
_ERRATIC = "the loss changes erratically within the smallest steps that its precision allows"
_STAIR = "the loss is flat over small steps and climbs over larger ones, as if it were cast to a coarser format inside"
_BURIED = "the loss is too coarse to show a slope as small as that"
_STAIR_SLOPE = 1e-3  # of the claimed slope
_MOST_ROUNDING = 30.0  # times half of the digits: rounding of a gradient is never more
_GLANCE_STEPS = 10  # steps of a glance
_FACTORS = (1.37, 0.61, 1.83)
_SCATTER = 2  # pairs of gradients beside the point that show its own rounding


class Prober:
    """Measures a problem's slopes at one point. The noise of the loss is measured once, for all directions."""

    def __init__(
        self,
        problem: Problem,
        theta: Vector,
        gradient: Vector,
        value: float | None = None,
        seed: int = 0,
        *,
        held: bool = False,
        budget: Budget | None = None,
    ) -> None:
        """`held`: whether the problem holds what passes cuts of its graph. Evaluations are taken from the `budget`."""
        self.budget = budget or Budget()
        self.problem, self.theta, self.gradient, self.held = problem, theta, gradient, held
        self.random = np.random.default_rng(seed)
        self.directions = Directions(problem.layout, theta, gradient, problem.differentiation.untrained(), self.random)
        self.eps = format_of(problem.dtype).eps
        self.claim_eps = format_of(problem.variants.trained_in or problem.dtype).eps
        self.raised: Exception | None = None  # the last error of the user's code beside the point
        self._shorter = 1.0  # the part of the usual steps that served the last glance
        self.backward_spread = 0.0  # how far two gradients at the point were seen to lie apart
        self.value = problem.value(theta)
        self.repeatable = self.value == (problem.value(theta) if value is None else value)
        self.eps = self._grain()

    def _grain(self) -> float:
        """How finely the loss is computed: it may be cast to a coarser format on its way than its parameters have.

        Two values that a coarser format holds exactly are chance once in 2^58.
        """
        for name in ("float16", "float32"):
            coarser = format_of(name)
            if coarser.eps > self.eps and _held_by(name, self.value):
                other = self.beside(self._stored_nearby)
                if other != self.value and _held_by(name, other):
                    return coarser.eps
        return self.eps

    @cached_property
    def _stored_nearby(self) -> Vector:
        shift = np.random.default_rng(1).standard_normal(self.theta.size)
        return self.problem.stored(
            self.theta + 0.01 * shift * np.maximum(np.abs(self.theta), self.directions.size(slice(0, None)))
        )

    def on_a_stair(self, probe: Probe, u: Vector) -> bool:
        """Whether the loss is flat over the smallest steps and climbs as claimed over larger ones: cast to a coarser
        format inside.
        """
        if abs(probe.measured) > _STAIR_SLOPE * abs(probe.claimed):
            return False
        reach = self.directions.reach(u)
        tilted, flat = self._tilted(u), abs(probe.claimed) / 2
        return any(abs(tilted(h) - tilted(-h)) / (2 * h) < flat for h in (reach / 4.0**k for k in range(1, 6)))

    def buried(self, probe: Probe, u: Vector) -> bool:
        """Whether what is wrong, over the largest step there is, changes the loss by less than its noise along all
        tensors together: a loss that is rounded to a coarser format on its way looks flat along one alone."""
        noise = self.near.level
        return bool(np.isfinite(noise)) and abs(probe.residual) * self.directions.reach(u) < _WILD * noise

    def erratic(self, u: Vector) -> bool:
        """Whether, in 16 bits, the loss changes within the finest steps by far more than its rounding: then steps show
        its average at best."""
        return self.eps > _SIXTEEN_BITS and self.noise_along(u).level > _WILD * self.eps * abs(self.value)

    @property
    def exact(self) -> bool:
        """Whether the loss is computed finely enough that there always is room for a step."""
        return self.eps < _EXACT_EPS

    @cached_property
    def near(self) -> Noise:
        """The noise of the loss beside the point."""
        found = self.noise_along(self.directions.jointly(self.problem.layout.names))
        # Its slope belongs to that direction alone.
        return Noise(found.level, 0.0, np.inf, found.evaluations)

    @cached_property
    def of_double(self) -> Gradient | None:
        """The gradient of 2 J, asked for once."""
        return self.problem.differentiation.gradient_of_multiple(self.theta, 2.0)

    @cached_property
    def uncut(self) -> Uncut | None:
        """`Problem.uncut` here, asked for once."""
        return self.problem.differentiation.uncut(self.theta)

    def noise_along(self, u: Vector) -> Noise:
        """The noise of the loss, without its claimed linear part, along one direction."""
        (found,) = run([noise_level(self.directions.reach(u), self.eps, self.value)], self._answering([u]))
        return found

    def nearby(self) -> Prober:
        """A prober at a random point nearby, where no corner of the loss is met exactly: each entry moved by about 1
        %.
        """
        theta = self.problem.stored(self.directions.nearby())
        gradient = self.problem.layout.pack_known(self.problem.gradient(theta))
        return Prober(self.problem, theta, gradient, held=self.held, budget=self.budget)

    def probe(self, u: Vector) -> Probe:
        """As `probes`, of one direction."""
        return self.probes([u])[0]

    def difference(self, u: Vector, h: float) -> float:
        """(J(theta + h u) - J(theta - h u)) / 2h - g.u, one step: what is wrong along u, with no bar."""
        tilted = self._tilted(u)
        return (tilted(h) - tilted(-h)) / (2 * h)

    def probes(self, directions: Sequence[Vector], *, second_opinion: bool = False) -> list[Probe]:
        """The slopes of J(theta + t u) - t g.u at t = 0, theta as the problem stores it; a direction of zeros has slope
        0.

        For a second opinion the first steps tried are smaller, and the noise is measured anew along each direction: a
        fine grid then shows the slope too, and contradicts steps that are all too large.
        """
        moving = [u for u in directions if u.any()]
        closer = self.eps**_CLOSER_POWER if second_opinion else 1.0
        near = None if second_opinion or not np.isfinite(self.near.level) else self.near
        lanes = [
            slope(
                scale=closer * self.directions.reach(u),
                eps=self.eps,
                f0=self.value,
                near=near,
                reach=_FURTHEST_OF_SIZE / closer,
                enough=_ENOUGH * self.directions.spread(u),
            )
            for u in moving
        ]
        found = iter(run(lanes, self._answering(moving)))
        return [self._probe(u, next(found) if u.any() else Slope(0.0, 0.0, np.nan, 0)) for u in directions]

    def glanced(self, u: Vector, enough: float) -> Probe:
        """One direction by as few steps as show a slope, with no more noise than rounding expected: what agrees here,
        agrees.

        A disagreement means nothing, as the noise may be larger; `enough` is the error bar that needs no improvement.
        The next glance begins with the step that did best: corners close by are as close in other directions.
        """
        if not u.any():
            return self._probe(u, Slope(0.0, 0.0, np.nan, 0))
        near, reach = Noise(self.eps * abs(self.value), 0.0, np.inf, 0), self.directions.reach(u)
        lane = slope(
            scale=self._shorter * reach,
            eps=self.eps,
            f0=self.value,
            near=near,
            reach=_FURTHEST_OF_SIZE / self._shorter,
            enough=enough,
            most=_GLANCE_STEPS,
        )
        tilted = self._leaning(u) if self.exact else self._tilted(u)
        (found,) = run([lane], lambda _lane, steps: [(t, tilted(t)) for t in steps])
        if np.isfinite(found.step):
            self._shorter = min(1.0, found.step / first_step(reach, self.eps))
        return self._probe(u, found)

    def confirmed(self, directions: Sequence[Vector]) -> list[Probe]:
        """Probes; a disagreement is believed only if it is seen again with smaller steps, and is more than the claim's
        own rounding.
        """
        found = self.probes(directions)
        doubted = [index for index, probe in enumerate(found) if probe.known and not probe.agrees]
        again = self.probes([directions[index] for index in doubted], second_opinion=True)
        for index, second in zip(doubted, again, strict=True):
            u = directions[index]
            if not second.known or second.agrees:
                found[index] = second
            elif self.erratic(u):
                found[index] = _unknown(second, _ERRATIC)
            elif self.buried(second, u):
                found[index] = _unknown(second, _BURIED)
            elif self.on_a_stair(second, u) or self.on_a_stair(found[index], u):
                found[index] = _unknown(second, _STAIR)
            elif not found[index].slope.kink and self._may_be_rounding(second, u):
                found[index] = replace(found[index], rounding=max(found[index].rounding, self.rounding(u)))
        return found

    def _may_be_rounding(self, probe: Probe, u: Vector) -> bool:
        """Whether a gradient of that precision may be that wrong for rounding alone, be it added up as it may; one that
        is random may be anything.
        """
        small = abs(probe.residual) <= _MOST_ROUNDING * np.sqrt(self.claim_eps) * self.directions.spread(u)
        return small or bool(self._again().any())

    def _again(self) -> Vector:
        """What the gradient differs by when it is asked for once more."""
        again: Vector = self.problem.layout.pack_known(self.problem.gradient(self.theta)) - self.gradient
        self.backward_spread = max(self.backward_spread, float(np.linalg.norm(again)))
        return again

    def _probe(self, u: Vector, measured: Slope) -> Probe:
        claimed = float(self.gradient @ u)
        # The digits of single entries fall where they fall; a rounded factor of all of them moves the whole slope.
        terms = max(self.directions.spread(u), abs(claimed))
        rounding = _CLAIM_ULPS * self.claim_eps * terms
        if (
            measured.step > 0
        ):  # where the loss is 0 its values show no noise, and what it is computed from is rounded all the same
            rounding += self._least_noise / measured.step
        return Probe(claimed, float(self.theta @ u), rounding, measured)

    @cached_property
    def _least_noise(self) -> float:
        """What half a unit in the last place of every parameter does to the loss."""
        places = self.problem.layout.slices.values()  # one by one: their product would be as large as the model
        return self.eps / 2 * float(np.linalg.norm([np.linalg.norm(self.gradient[p] * self.theta[p]) for p in places]))

    def beside(self, theta: Vector) -> float:
        """The loss at another point; NaN where the user's code raises, for it need not be defined everywhere."""
        return self._tried(lambda: self.problem.value(theta))

    def along(self, u: Vector, t: float) -> float:
        """As `beside`, at theta + t u as the problem stores it."""
        return self._tried(lambda: self.problem.differentiation.value_along(self.theta, u, t))

    def _tried(self, value: Callable[[], float]) -> float:
        self.budget.take()
        made = attempt(value)
        if isinstance(made, Raised):
            self.raised = made.error
            return np.nan
        return made

    def rounding(self, u: Vector) -> float:
        """What rounding does to the claimed slope along u, as the gradient's own scatter shows it.

        g(theta + d) - 2 g(theta) + g(theta - d) is of second order in d: for a d of half the digits it is rounding. So
        is the difference between the gradient of a multiple of the loss and that multiple of the gradient, up to half
        the digits: a backward pass that is not linear in what comes in differs by more.
        """
        scatter = [float(self._again() @ u)]
        for _ in range(_SCATTER):
            shift = np.sqrt(self.claim_eps) * np.abs(self.theta) * self.random.standard_normal(self.theta.size)
            above, below = (self._slope_claimed(self.theta + sign * shift, u) for sign in (1, -1))
            scatter.append((above + below - 2 * float(self.gradient @ u)) / np.sqrt(6))
        for factor in _FACTORS:
            other = self.problem.differentiation.gradient_of_multiple(self.theta, factor)
            if other is not None:
                apart = float((self.problem.layout.pack_known(other) / factor - self.gradient) @ u)
                if abs(apart) <= np.sqrt(self.claim_eps) * self.directions.spread(u):
                    scatter.append(apart / np.sqrt(2))
        return _CLAIM_ULPS * float(np.max(np.abs(scatter)))

    def _slope_claimed(self, theta: Vector, u: Vector) -> float:
        return float(self.problem.layout.pack_known(self.problem.gradient(self.problem.stored(theta))) @ u)

    def _answering(self, directions: Sequence[Vector]) -> Callable[[Sequence[int], Sequence[float]], Answer]:
        tilted = [self._tilted(u) for u in directions]
        return lambda lane, steps: [(t, tilted[index](t)) for index, t in zip(lane, steps, strict=True)]

    def _leaning(self, u: Vector) -> Callable[[float], float]:
        """As `_tilted`, with theta' rounded: in float64, what that does to the claimed part is nothing beside the
        noise.
        """
        claimed = float(self.gradient @ u)
        return lambda t: self.along(u, t) - t * claimed

    def _tilted(self, u: Vector) -> Callable[[float], float]:
        """t -> J(theta') - g.(theta' - theta), theta' = theta + t u as stored: rounding of theta' drops out."""

        def along(t: float) -> float:
            theta = self.problem.stored(self.theta + t * u)
            return self.beside(theta) - float(self.gradient @ (theta - self.theta))

        return along


def _held_by(name: str, value: float) -> bool:
    """Whether that format has exactly this number, which is not one that every format has."""
    with np.errstate(over="ignore"):
        return (
            value != 0 and np.isfinite(value) and float(np.dtype(name).type(value)) == value and value != round(value)
        )


def _unknown(probe: Probe, reason: str) -> Probe:
    return replace(probe, slope=replace(probe.slope, value=np.nan, error=np.inf, reason=reason))
