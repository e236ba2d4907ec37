"""WP508: could a wrong gradient be seen at this point at all?"""

from __future__ import annotations

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.gradients.prober import Prober
from wellposed.gradients.tensor import carries, some
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient
from wellposed.rule import Cause, Rule

_FLAT_CHANGE = 1e-6  # of what the loss really changes by when every parameter moves by its own size


UNINFORMATIVE = Rule(
    id="WP508",
    subject="gradients",
    priority=310,
    follows=("WP401", "WP404", "WP505", "WP302", "WP201", "WP205"),
    title="uninformative point",
    claim="A wrong gradient could be seen at the point checked.",
    judged=(
        "Suspect where every gradient is zero, where all rows of a matrix and of its gradient are the same, or where"
        f" the loss, when every parameter moves by its own size, changes {1 / _FLAT_CHANGE:,.0f} times more than the"
        " gradient foretells."
    ),
    causes=(
        Cause(
            "zero",
            "Zero agrees with zero: scaled, transposed or permuted it is still zero.",
            "Look at the loss at other parameters.",
        ),
        Cause(
            "symmetric",
            "All units of a layer are equal, so that a gradient which mixes them up looks right.",
            "Compare the rows of the weight.",
            (Remedy("Check at random weights", "wp.initialize(model)"),),
        ),
        Cause(
            "flat",
            "A saturated unit or a minimum: the gradient is tiny beside what the loss does further away.",
            "Check at other weights.",
        ),
    ),
    remedies=(
        Remedy(
            "Check at random initialisation and again after some training",
            "wp.check_gradients(problem, after_steps=20)",
        ),
    ),
    references=("CS231n: Gradient checks, a bad point to start with",),
    needs=("loss",),
    judge=lambda measured: measured.gradient_check.of("WP508"),
)


def find_uninformative(problem: Problem, prober: Prober, gradient: Gradient) -> list[Finding]:
    """All zero, symmetric, or so flat that the gradient tells nothing of the loss; nothing where the point is a good
    one.
    """
    names = problem.layout.names
    carrying = [name for name in names if carries(gradient, name)]
    if not carrying:
        text = (
            "The gradient is zero in every entry of every tensor: zero agrees with zero, and most mistakes would not"
            " show."
        )
        return [UNINFORMATIVE.found(Verdict.SUSPECT, text, where=names[0] if names else "", cause="zero")]
    twins = [name for name in carrying if _symmetric(prober.theta, gradient, problem, name)]
    if twins:
        text = (
            f"All rows of {some(twins)} are the same, and so are those of the gradient: a gradient that mixes up or"
            " transposes rows would look right here."
        )
        return [UNINFORMATIVE.found(Verdict.SUSPECT, text, where=twins[0], cause="symmetric")]
    u = prober.directions.jointly(carrying)
    claimed = abs(float(prober.gradient @ u))
    moved = abs(prober.along(u, 1.0) - prober.value)
    if np.isfinite(moved) and claimed < _FLAT_CHANGE * moved:
        text = (
            f"The loss is flat here: moving every parameter by its own size changes it by {moved:.3g}, where the"
            f" gradient foretells {claimed:.3g}. A saturated unit or a minimum looks like this, and hides mistakes."
        )
        evidence = (Evidence("change foretold over change seen", claimed / moved, reference=f"above {_FLAT_CHANGE:g}"),)
        return [UNINFORMATIVE.found(Verdict.SUSPECT, text, where=carrying[0], cause="flat", evidence=evidence)]
    return []


def _symmetric(theta: Vector, gradient: Gradient, problem: Problem, name: str) -> bool:
    shape, part = problem.layout.shapes[name], gradient[name]
    if len(shape) < 2 or shape[0] < 2 or part is None:
        return False
    weight = theta[problem.layout.slices[name]].reshape(shape)
    return all(bool((rows == rows[:1]).all()) for rows in (weight, np.asarray(part).reshape(shape)))
