"""Tensors without a gradient: idle, on a staircase, or out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from wellposed.backends.protocol import Problem
from wellposed.findings import Finding, Verdict
from wellposed.gradients import tensor
from wellposed.gradients.frame import frame_of
from wellposed.gradients.prober import Prober
from wellposed.gradients.rules.not_differentiable import NOT_DIFFERENTIABLE
from wellposed.gradients.rules.zero import ZERO
from wellposed.gradients.tensor import carries
from wellposed.numerics.theta import Gradient, as_vector, descend
from wellposed.rule import NEGLIGIBLE
from wellposed.users_code import Raised, attempt

_STEPS_TO_WAKE = 3
_MATRIX = 2  # axes of a weight; biases and scales have fewer
_STAIR = 1e-6  # of the loss: a change that no rounding makes


def find_idle(
    problem: Problem, prober: Prober, gradient: Gradient, names: Sequence[str], carrying: Sequence[str], tensors: int
) -> list[Finding]:
    """Tensors without gradient and without influence, unless a few steps give them one: zero-initialised layers
    shut off others.
    """
    theta = prober.theta
    left = set(names)
    for _ in range(_STEPS_TO_WAKE if left else 0):
        theta = problem.stored(as_vector(descend(problem.layout, theta, gradient)))
        there = attempt(partial(problem.gradient, theta))
        if isinstance(there, Raised):  # it need not be defined there
            break
        gradient = there
        left = {name for name in left if not carries(gradient, name)}
    for other in problem.variants.redrawn(prober.theta) if left else ():  # layers are left out at random
        left = {name for name in left if not carries(other, name)}
    if not left:
        return []
    # A bias that cancels beside weights that learn costs nothing.
    learning = {name.rpartition(".")[0] for name in carrying if "." in name}
    beside = [name for name in names if name in left and name.rpartition(".")[0] in learning]
    stairs = [stair for name in beside if (stair := _stair(problem, prober, gradient, name)) is not None]
    names = [name for name in names if name in left and name not in beside]
    if not names:
        return stairs
    text = (
        f"{len(names)} of {tensors} tensors ({tensor.some(names)}) have a gradient that is zero or"
        f" missing, and the loss does not change along them either, here and after {_STEPS_TO_WAKE} small steps."
    )
    little = problem.layout.share(names) < NEGLIGIBLE
    verdict = Verdict.HOLDS if little else Verdict.SUSPECT
    return [*stairs, ZERO.found(verdict, text, where=names[0], cause="unused")]


def _stair(problem: Problem, prober: Prober, gradient: Gradient, name: str) -> Finding | None:
    """A weight of a layer that learns, flat over small steps and not where it moves by its own size."""
    frame = frame_of(problem, prober, gradient, name)
    prober, layout = frame.prober, frame.problem.layout
    place = layout.slices[name]
    if len(layout.shapes[name]) < _MATRIX or not prober.exact:
        return None
    u = prober.directions.random_direction(place)
    probe = prober.probe(u)
    if not (probe.smooth and probe.agrees):  # it is not flat
        return None
    moved = prober.along(u, prober.directions.reach(u))
    if not abs(moved - prober.value) > _STAIR * abs(prober.value):
        return None
    text = (
        f"Along `{name}` the loss is a staircase: flat over small steps, as its gradient of zero says, and another one"
        " where it moves by its own size. It is rounded or counted on its way, and never trained."
    )
    return NOT_DIFFERENTIABLE.found(Verdict.SUSPECT, text, where=name, cause="staircase")


def find_out_of_reach(problem: Problem) -> list[Finding]:
    missing = problem.differentiation.unreached()
    if not missing:
        return []
    text = (
        f"The loss also depends on {', '.join(missing)}, which requires a gradient but belongs to no model and no"
        " variable that could be found: its gradient was not checked."
    )
    return [ZERO.found(Verdict.SUSPECT, text, where=missing[0], cause="out-of-reach")]
