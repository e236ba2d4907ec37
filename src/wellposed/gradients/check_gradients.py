"""From probes to findings: WP501 to WP505 and WP508.

A healthy problem costs about 15 evaluations whatever its size: one direction or two through all tensors at once. Single
tensors are looked at where those disagree, meet a kink, or could not have seen an error.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wellposed.backends.protocol import Held, Problem
from wellposed.findings import Finding, Verdict
from wellposed.gradients import tensor
from wellposed.gradients.effort import USUAL, Effort, Told
from wellposed.gradients.point_check import SAME_LOSS_ULPS, PointCheck
from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.gradients.repeatability import changing_gradient, random_loss
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.together import RULES
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.stop_gradient import tell_of_cuts
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient
from wellposed.rule import Rule
from wellposed.users_code import Raised, attempt


def check(
    problem: Problem,
    theta: Vector | None = None,
    value: float | None = None,
    *,
    alone: bool = False,
    effort: Effort = USUAL,
    compared: list[tuple[str, Probe]] | None = None,
    told: Told | None = None,
) -> list[Finding]:
    """Findings for the problem's gradient at theta (its present point); call it within `problem.preserved()`.

    `value` is the loss there, where it is already known: it must come out the same again. `alone` is for a part of
    another problem, which has no parts of its own. What a brief `effort` does not show to be right is looked at as
    closely as ever. `compared` is given every direction that was looked at, with its tensor's name; `told` hears of
    each evaluation.
    """
    layout = problem.layout
    known = problem.differentiation.first if theta is None else None
    theta = problem.theta() if theta is None else theta
    if not theta.size:
        return [rule.not_applicable("There is no entry to differentiate by.") for rule in RULES]
    gradient = attempt(lambda: problem.gradient(theta)) if known is None else known[1]
    if isinstance(gradient, Raised):
        return _no_backward(problem, theta, gradient.error)
    value = known[0] if value is None and known is not None else value
    budget = effort.budget_of(problem.variants.size, told)
    prober = Prober(problem, theta, layout.pack_known(gradient), value, budget=budget)
    unjudged = _nothing_to_compare(problem, prober, gradient)
    if unjudged is not None:
        return unjudged
    looked = PointCheck(problem, prober, gradient, alone, effort, compared, check_part=_by_itself)
    held = None if looked.settled else problem.differentiation.held(theta)
    found = looked.findings() if held is None else _beside_cuts(problem, prober, held, looked)
    return (
        _elsewhere(problem, prober, found)
        if problem.differentiation.handwritten and all(f.verdict is Verdict.HOLDS for f in found)
        else found
    )


def _nothing_to_compare(problem: Problem, prober: Prober, gradient: Gradient) -> list[Finding] | None:
    """What keeps the gradient from being compared: a loss or gradient that is not finite, or not the same twice."""
    if not np.isfinite(prober.value):
        text = f"The loss is {prober.value}, so there is nothing to compare."
        return [rule.undecided(text, where="loss") for rule in RULES]
    broken = [name for name, part in gradient.items() if part is not None and not np.isfinite(part).all()]
    if broken:
        names = ", ".join(f"`{name}`" for name in broken)
        text = f"The gradient of {names} contains NaN or infinity, although the loss is {prober.value:.6g}."
        failing = WRONG.found(Verdict.FAILS, text, where=broken[0], cause="not-finite")
        return [failing, *_others(WRONG, "The gradient is not finite: see WP501.", where=broken[0])]
    if not prober.repeatable:
        return [random_loss(problem, prober), *_others(RANDOM, "The loss is random: see WP504.", where="loss")]
    changing = changing_gradient(problem, prober)
    return (
        None if changing is None else [changing, *_others(WRONG, "The gradient changes from call to call: see WP501.")]
    )


def _others(found: Rule, reason: str, where: str = "") -> list[Finding]:
    return [rule.undecided(reason, where=where) for rule in RULES if rule is not found]


def _beside_cuts(problem: Problem, prober: Prober, held: Held, looked: PointCheck) -> list[Finding]:
    """The gradient judged with what passes cuts held, where a first look disagrees: then it may be right but for
    them.
    """
    before = held.problem.evaluations
    inside = Prober(held.problem, prober.theta, prober.gradient, held=True, budget=prober.budget)
    again = looked.with_cuts_held(held.problem, inside)
    if not looked.changed_by(inside):  # what is cut does not matter
        return looked.findings()
    again.look()
    # Else what was held has changed the loss itself; what is held may be rounded as the parameters are.
    same = abs(inside.value - prober.value) <= SAME_LOSS_ULPS * prober.claim_eps * abs(prober.value)
    if held.broken or not inside.repeatable or not same:
        return looked.findings()
    found = again.findings()
    found = tell_of_cuts(problem, held, prober.gradient, [inside.directions.jointly(again.carrying)], found)
    problem.evaluations += held.problem.evaluations - before
    return found


def _elsewhere(problem: Problem, prober: Prober, found: list[Finding]) -> list[Finding]:
    """Code of the user's own may keep what it computed at the first parameters, and be right there alone: once more, a
    little beside.
    """
    beside = prober.nearby()
    names = [
        name for name in problem.layout.names if problem.layout.slices[name].start < problem.layout.slices[name].stop
    ]
    if not np.isfinite(beside.value) or beside.probe(beside.directions.jointly(names)).agrees:
        return found
    later = PointCheck(
        problem, beside, problem.layout.unpack(beside.gradient), alone=True, check_part=_by_itself
    ).findings()
    return [
        (
            replace(
                f,
                message=f"{_KEPT} {f.message}",
                cause=f.cause or "stale",
                remedies=WRONG.cause(f.cause or "stale").remedies,
            )
            if f.verdict is Verdict.FAILS and f.rule == WRONG.id
            else f
        )
        for f in later
    ]


_KEPT = "Right at the first parameters, wrong at others, as if something were kept from the first call."


def _no_backward(problem: Problem, theta: Vector, error: Exception) -> list[Finding]:
    """The loss has a value, but its backward pass raises. Where the loss raises too, that is the user's to see."""
    problem.value(theta)
    text = f"The forward pass runs, but the backward pass raises {tensor.describe_error(error)}"
    rest = _others(WRONG, "There is no gradient to judge: see WP501.")
    if isinstance(error, NotImplementedError):
        return [WRONG.undecided(f"{text} There is nothing to compare."), *rest]
    return [WRONG.found(Verdict.FAILS, text, where="backward pass", cause="raises"), *rest]


def _by_itself(part: Problem) -> list[Finding]:
    with part.preserved():
        return check(part, alone=True)
