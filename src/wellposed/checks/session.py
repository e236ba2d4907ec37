"""One check of one problem: what several subjects need is measured once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from wellposed.backends.measured import Dependence, LossArguments, Run, Uncut
from wellposed.backends.protocol import Problem
from wellposed.errors import InputError, WellposedError
from wellposed.findings import Finding
from wellposed.gradients.probe import Probe
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient, descend, move_by_its_size
from wellposed.objective.curvature import sharpness
from wellposed.objective.rate import Steps
from wellposed.signals import finiteness as finite
from wellposed.signals.spectrum import Spectrum
from wellposed.signals.trace import Trace, trace_of

Effort = Literal["quick", "usual", "full"]
_MATTERS = 1e-4  # of the loss: beyond what rounding in another order can do


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class Session:
    """One check of one problem: what several subjects need is measured once."""

    def __init__(
        self, problem: Problem, after_steps: int, effort: Effort = "usual", theta: Vector | None = None
    ) -> None:
        if not isinstance(after_steps, int) or after_steps < 0:
            raise InputError(f"after_steps must be a whole number of steps, not {after_steps!r}")
        self.problem, self.steps, self.effort = problem, after_steps, effort
        self._theta = theta
        self.evaluations = 0
        self.compared: list[
            tuple[str, Probe]
        ] = []  # directions in which the gradient was held against differences, by tensor
        self.spectrum: Spectrum | None = None
        self.failing = False  # whether anything has failed so far
        self.checked_in = ""
        self._taken: list[tuple[Vector, Run]] = []

    @cached_property
    def theta(self) -> Vector:
        return self.problem.theta() if self._theta is None else self._theta

    def forget(self) -> None:
        """Lets go of what is as large as the model; asked for again, it is measured again."""
        for name in ("theta", "run", "gradient", "weights", "optimizer_steps"):
            self.__dict__.pop(name, None)
        self._taken.clear()

    @cached_property
    def later(self) -> tuple[int, Session]:
        """The problem after the steps asked for, and how many were taken: where weights become NaN on the way, as many
        as leave them finite.
        """
        taken, wanted = 0, self.steps
        theta, reached = self.theta, self.problem.training.trained(self.theta, wanted)
        if np.isfinite(reached).all():
            taken, theta = wanted, reached
        while wanted - taken > 1:
            middle = (taken + wanted) // 2
            tried = self.problem.training.trained(self.theta, middle)
            if np.isfinite(tried).all():
                taken, theta = middle, tried
            else:
                wanted = middle
        return taken, Session(self.problem, 0, self.effort, theta)

    @property
    def seen_later(self) -> str:
        """In words, after how many steps the problem was looked at again, and its loss there; "" where it was not."""
        if "later" not in self.__dict__:
            return ""
        steps, later = self.later
        return f"again after {steps} steps, where the loss is {later.loss:.5g}"

    @cached_property
    def finiteness(self) -> Finding:
        """WP207: what made the loss or a gradient NaN or infinite."""
        if all(part is None or np.isfinite(part).all() for part in self.gradient.values()) and np.isfinite(self.loss):
            return finite.check(None)
        found = self.problem.differentiation.first_not_finite(self.theta)
        if found is not None:
            return finite.check(found)
        arrays = {**self.weights, **self.problem.network.data()}
        return finite.came_in(next((name for name, array in arrays.items() if not np.isfinite(array).all()), ""))

    @cached_property
    def run(self) -> Run | None:
        return self.problem.network.run(self.theta)

    @cached_property
    def trace(self) -> Trace | None:
        return None if self.run is None else trace_of(self.run, self.problem.dtype)

    @property
    def known_trace(self) -> Trace | None:
        """The trace, where a subject has asked for it."""
        known: Trace | None = self.__dict__.get("trace")
        return known

    @cached_property
    def weights(self) -> dict[str, Vector]:
        return self.problem.layout.unpack(self.theta)

    @cached_property
    def loss(self) -> float:
        return self.problem.value(self.theta)

    @cached_property
    def raised(self) -> str:
        """What the loss raises where the loss function itself raises it, on its arguments; "" where it has a value."""
        try:
            _ = self.loss
        except WellposedError:
            raise
        except Exception as error:
            if any(call.raised for call in self.loss_arguments):
                return _said(error)
            raise
        return ""

    @cached_property
    def backward_raised(self) -> str:
        """What the backward pass raises, where the loss has a value; "" where there is a gradient."""
        try:
            _ = self.problem.differentiation.first or self.gradient
        except WellposedError:
            raise
        except Exception as error:
            _ = self.loss  # which raises where the loss itself is at fault
            try:
                self.problem.gradient(self.theta)
            except Exception:  # the user's code: the same once more, and not by the look at its operations
                return _said(error)
            raise
        return ""

    @cached_property
    def loss_arguments(self) -> list[LossArguments]:
        return self.problem.network.loss_arguments()

    @cached_property
    def gradient(self) -> Gradient:
        return self.problem.gradient(self.theta) if self.run is None else self.run.gradient

    @cached_property
    def uncut(self) -> Uncut | None:
        """The gradient with nothing on its way cut, where one is missing."""
        return (
            self.problem.differentiation.uncut(self.theta)
            if any(part is None for part in self.gradient.values())
            else None
        )

    def matters(self, names: Sequence[str]) -> bool:
        """Whether the loss changes when these parameters are moved by about their own size."""
        theta = move_by_its_size(self.problem.layout, self.theta, names)
        moved = self.problem.value(self.problem.stored(theta))
        return bool(np.isfinite(moved)) and abs(moved - self.loss) > _MATTERS * abs(self.loss)

    def redrawn(self) -> Iterator[Gradient]:
        """Gradients for other random numbers; none where nothing is drawn."""
        return self.problem.variants.redrawn(self.theta)

    @cached_property
    def dependence(self) -> Dependence | None:
        return self.problem.network.dependence(self.theta)

    @property
    def reached(self) -> bool:
        """Whether a gradient gets to the first layer of the trunk, and that tells examples apart."""
        first = self.trace.trunk[0] if self.trace is not None and self.trace.trunk else None
        return first is not None and first.gradient > 0 and first.forward.spread > _MATTERS * first.forward.rms

    def dependence_precisely(self) -> Dependence | None:
        """In float64; None where the problem does not run so."""
        precise = self.problem.variants.precise()
        return None if precise.dtype != "float64" else precise.network.dependence(precise.theta())

    def dependence_after_a_step(self) -> Dependence | None:
        return self.problem.network.dependence(descend(self.theta, self.problem.layout.pack_known(self.gradient)))

    @cached_property
    def optimizer_steps(self) -> Steps | None:
        """The optimizer's steps, where it is known."""
        problem = self.problem
        if not problem.training.optimized:
            return None

        def slope(theta: Vector) -> Vector:
            return problem.layout.pack_known(problem.gradient(problem.stored(theta)))

        return Steps(
            lambda numbers: problem.training.trained_at(self.theta, numbers),
            lambda number, factor: problem.training.trained(self.theta, number, factor),
            lambda: problem.training.trained(self.theta, 1, 1.0, decayed=False) if problem.training.decays else None,
            problem.value,
            problem.layout.unpack,
            problem.training.rate,
            problem.dtype,
            (lambda: sharpness(slope, self.theta)) if problem.training.descends else None,
        )

    def after_steps(self, steps: int) -> tuple[Vector, Run]:
        """The parameters and the run after small steps of gradient descent; steps once taken are kept."""
        assert self.run is not None
        taken = self._taken or [(self.theta, self.run)]
        while len(taken) <= steps:
            theta, run = taken[-1]
            theta = descend(theta, self.problem.layout.pack_known(run.gradient))
            after = self.problem.network.run(theta)
            assert after is not None
            taken.append((theta, after))
        self._taken = taken
        return taken[steps]

    def with_a_small_output_layer(self) -> float:
        """The loss where the weights of the layers that make the outputs are a tenth of what they are."""
        assert self.trace is not None
        theta = self.theta.copy()
        for site in self.trace.sites:
            use = site.layer.weight
            if site.is_output and use is not None and use.name in self.problem.layout.slices:
                theta[self.problem.layout.slices[use.name]] *= 0.1
        return self.problem.value(self.problem.stored(theta))

    def weights_after_a_step(self) -> tuple[dict[str, Vector], Any]:
        theta, run = self.after_steps(1)
        return self.problem.layout.unpack(theta), run.gradient
