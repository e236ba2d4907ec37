"""One check of one problem: what several rules need is measured once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np

from wellposed.backends.measured import Dependence, LossArguments, NotFinite, Run, Uncut
from wellposed.backends.protocol import Problem
from wellposed.backends.structure.shown import Modes, Reach, Reshape, Structure, Term
from wellposed.checks.gradient_check import GradientCheck, Later, check_forward_mode, check_points
from wellposed.errors import InputError
from wellposed.findings import Finding, Verdict
from wellposed.gradients.effort import USUAL, Effort, Told
from wellposed.gradients.paths.apart import MODEL_COSTS
from wellposed.gradients.paths.judge import judge as judge_paths
from wellposed.gradients.rules.paths import PATHS
from wellposed.numerics.theta import (
    Gradient,
    Separate,
    Theta,
    all_finite,
    as_point,
    descend,
    missing,
    move_by_its_size,
    moves,
    scale,
)
from wellposed.numerics.weight import Weight
from wellposed.objective.curvature import sharpness
from wellposed.objective.rules.rate import Steps
from wellposed.rule import Rule
from wellposed.signals.backward import Backward, follow_back
from wellposed.signals.spectrum import Spectrum, spectrum_of
from wellposed.signals.trace import Trace, trace_of
from wellposed.users_code import Raised, attempt

_SMALL_OUTPUT = 0.1  # of the weights that make the outputs
_MATTERS = 1e-4  # of the loss: beyond what rounding in another order can do


class Session:
    """What the rules judge from: nothing in it is set from outside, and all of it is measured at one point."""

    def __init__(
        self,
        problem: Problem,
        after_steps: int,
        effort: Effort = USUAL,
        theta: Theta | None = None,
        *,
        told: Told | None = None,
    ) -> None:
        """`told` hears of the evaluations that a look at the gradient takes."""
        if not isinstance(after_steps, int) or after_steps < 0:
            raise InputError(f"after_steps must be a whole number of steps, not {after_steps!r}")
        self.problem, self.steps, self.effort = problem, after_steps, effort
        self._theta, self._told = theta, told
        self._judged: dict[str, list[Finding]] = {}
        self._taken: list[tuple[Theta, Run]] = []

    def findings_of(self, rule: Rule) -> list[Finding]:
        """What a rule judges, once."""
        if rule.id not in self._judged:
            self._judged[rule.id] = rule.findings(self)
        return self._judged[rule.id]

    def known_findings(self, rule: Rule) -> list[Finding]:
        """What a rule has judged, if it has."""
        return self._judged.get(rule.id, [])

    @property
    def known_loss(self) -> float | None:
        known: float | None = self.__dict__.get("loss")
        return known

    @cached_property
    def paths(self) -> list[Finding]:
        """WP509 of the problem as it is."""
        ways = self.problem.variants.ways()
        if ways is None:
            return [PATHS.not_applicable("This problem cannot be run beside itself in float64.")]
        made = attempt(partial(judge_paths, ways, MODEL_COSTS), ours=True)
        return [PATHS.undecided(f"It raised {made.line}.")] if isinstance(made, Raised) else made

    def fails(self, rule: Rule) -> bool:
        return any(finding.verdict is Verdict.FAILS for finding in self.findings_of(rule))

    @cached_property
    def theta(self) -> Theta:
        return self.problem.variants.here() if self._theta is None else self._theta

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
        if all_finite(reached):
            taken, theta = wanted, reached
        while wanted - taken > 1:
            middle = (taken + wanted) // 2
            tried = self.problem.training.trained(self.theta, middle)
            if all_finite(tried):
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
    def gradient_check(self) -> GradientCheck:
        """The gradient held against differences; what is as large as the model is let go of first."""
        self.forget()
        later = self._later_point if self.steps else None
        return check_points(self.problem, self.effort, self.loss, later, self._told)

    def _later_point(self) -> Later:
        steps, later = self.later
        return Later(steps, later.theta, later.loss)

    @cached_property
    def forward_check(self) -> GradientCheck:
        return check_forward_mode(self.problem)

    @property
    def known_gradient_check(self) -> GradientCheck:
        """Of reverse or forward mode, whichever a rule has asked for; without findings where none has."""
        known = self.__dict__.get("gradient_check") or self.__dict__.get("forward_check")
        return known if isinstance(known, GradientCheck) else GradientCheck([])

    @cached_property
    def spectrum(self) -> Spectrum | None:
        """Of the network as a function of real inputs, where the problem shows it so and a Jacobian can be had."""
        try:
            network = self.problem.network.input_map()
            return None if network is None else spectrum_of(network)
        except (InputError, RuntimeError):  # a checkpoint that passes no gradient to inputs alone, say
            return None

    @cached_property
    def first_not_finite(self) -> NotFinite | None:
        """What made the loss or a gradient NaN or infinite, of finite numbers."""
        return self.problem.differentiation.first_not_finite(self.theta)

    def holds_not_finite(self) -> str:
        """The first of weights and data that holds NaN or infinity; "" where none does."""
        arrays = chain(self.problem.layout.named(self.theta).items(), self.problem.network.data().items())
        return next((name for name, array in arrays if not np.isfinite(array).all()), "")

    @cached_property
    def run(self) -> Run | None:
        return self.problem.network.run(self.theta)

    @cached_property
    def trace(self) -> Trace | None:
        return None if self.run is None else trace_of(self.run, self.problem.dtype)

    def trace_after(self, steps: int) -> Trace:
        """After small steps of gradient descent."""
        return trace_of(self.after_steps(steps)[1], self.problem.dtype)

    @cached_property
    def backward(self) -> Backward:
        """The gradient on its way back, where the problem shows layers."""
        assert self.trace is not None
        return follow_back(self.trace, self.trace_after)

    @property
    def known_trace(self) -> Trace | None:
        """The trace, where a subject has asked for it."""
        known: Trace | None = self.__dict__.get("trace")
        return known

    @cached_property
    def weights(self) -> Mapping[str, Weight]:
        return self.problem.network.weights(self.theta)

    @cached_property
    def loss(self) -> float:
        return self.problem.value(self.theta)

    @cached_property
    def raised(self) -> str:
        """What the loss raises where the loss function itself raises it, on its arguments; "" where it has a value."""
        made = attempt(lambda: self.loss)
        if not isinstance(made, Raised):
            return ""
        if any(call.raised for call in self.loss_arguments):
            return made.line
        raise made.error

    @cached_property
    def backward_raised(self) -> str:
        """What the backward pass raises, where the loss has a value; "" where there is a gradient."""
        made = attempt(lambda: self.problem.differentiation.first or self.gradient)
        if not isinstance(made, Raised):
            return ""
        _ = self.loss  # which raises where the loss itself is at fault
        # The same once more, and not by the look at its operations.
        if isinstance(attempt(lambda: self.problem.gradient(self.theta), ours=True), Raised):
            return made.line
        raise made.error

    @cached_property
    def loss_arguments(self) -> list[LossArguments]:
        return self.problem.network.loss_arguments()

    @cached_property
    def gradient(self) -> Gradient:
        return self.problem.gradient(self.theta) if self.run is None else self.run.gradient

    @cached_property
    def uncut(self) -> Uncut | None:
        """The gradient with nothing on its way cut, where one is missing."""
        return self.problem.differentiation.uncut(self.theta) if missing(self.gradient) else None

    def matters(self, names: Sequence[str]) -> bool:
        """Whether the loss changes when these parameters are moved by about their own size."""
        theta = move_by_its_size(self.problem.layout, self.theta, names)
        moved = self._value_at(theta)
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

    @cached_property
    def structure(self) -> Structure:
        return self.problem.network.structure()

    @property
    def known_structure(self) -> Structure:
        """Where a rule has asked for it."""
        known: Structure = self.__dict__.get("structure", Structure())
        return known

    @property
    def known_terms(self) -> list[Term]:
        known: list[Term] = self.__dict__.get("terms", [])
        return known

    @cached_property
    def terms(self) -> list[Term]:
        moved = move_by_its_size(self.problem.layout, self.theta)
        return self.problem.network.terms(self.theta, moved if isinstance(moved, Separate) else self._stored(moved))

    @cached_property
    def reshapes(self) -> tuple[Reshape, ...]:
        return self.problem.network.reshapes()

    @cached_property
    def reach(self) -> Reach | None:
        return self.problem.network.reach()

    @cached_property
    def modes(self) -> Modes | None:
        return self.problem.network.modes()

    @property
    def modes_later(self) -> tuple[int, float]:
        """After the steps that were asked for, how far evaluation mode is from training mode; NaN for none."""
        return self.steps, self.problem.network.modes_apart(self.steps) if self.steps else float("nan")

    def dependence_precisely(self) -> Dependence | None:
        """In float64; None where the problem does not run so."""
        precise = self.problem.variants.precise()
        return None if precise.dtype != "float64" else precise.network.dependence(precise.theta())

    def dependence_after_a_step(self) -> Dependence | None:
        return self.problem.network.dependence(descend(self.problem.layout, self.theta, self.gradient))

    @cached_property
    def optimizer_steps(self) -> Steps | None:
        """The optimizer's steps, where it is known."""
        problem = self.problem
        if not problem.training.optimized:
            return None
        if isinstance(self.theta, Separate):  # a step has a gradient and moments of its own
            self.forget()

        def slope(theta: Theta) -> Theta:
            return as_point(problem.layout, theta, problem.gradient(self._stored(theta)))

        return Steps(
            lambda numbers: problem.training.trained_at(self.theta, numbers),
            lambda number, factor: problem.training.trained(self.theta, number, factor),
            lambda: problem.training.trained(self.theta, 1, 1.0, decayed=False) if problem.training.decays else None,
            problem.value,
            problem.layout.named,
            partial(moves, problem.layout),
            problem.training.rate,
            problem.dtype,
            (lambda: sharpness(slope, self.theta)) if problem.training.descends else None,
        )

    def _stored(self, theta: Theta) -> Theta:
        return theta if isinstance(theta, Separate) else self.problem.stored(theta)

    def _value_at(self, theta: Theta) -> float:
        return self.problem.value(self._stored(theta))

    def after_steps(self, steps: int) -> tuple[Theta, Run]:
        """The parameters and the run after small steps of gradient descent; steps once taken are kept."""
        assert self.run is not None
        taken = self._taken or [(self.theta, self.run)]
        while len(taken) <= steps:
            theta, run = taken[-1]
            theta = descend(self.problem.layout, theta, run.gradient)
            after = self.problem.network.run(theta)
            assert after is not None
            taken.append((theta, after))
        self._taken = taken
        return taken[steps]

    def with_a_small_output_layer(self) -> float:
        """The loss where the weights of the layers that make the outputs are a tenth of what they are."""
        assert self.trace is not None
        layout = self.problem.layout
        outputs = [site.layer.weight for site in self.trace.sites if site.is_output]
        names = dict.fromkeys(use.name for use in outputs if use is not None and use.name in layout.slices)
        return self._value_at(scale(layout, self.theta, names, _SMALL_OUTPUT))

    def weights_after_a_step(self) -> tuple[Mapping[str, Weight], Any]:
        theta, run = self.after_steps(1)
        return self.problem.network.weights(theta), run.gradient
