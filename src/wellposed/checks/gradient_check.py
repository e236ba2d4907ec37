"""The gradient of a problem judged at its present point and again after some steps, in the precision that it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from wellposed.backends.protocol import Problem
from wellposed.findings import Finding, Verdict, merge_worse
from wellposed.gradients.check_gradients import check
from wellposed.gradients.effort import Effort, Told
from wellposed.gradients.forward import check_forward
from wellposed.gradients.probe import Probe
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO
from wellposed.numerics.theta import Theta, as_vector

_SOLVED_LOSS = 1e-5  # of the loss: what is left of it where a problem is solved


@dataclass(frozen=True)
class Later:
    """The point after some steps, and the loss there."""

    steps: int
    theta: Theta
    loss: float


@dataclass(frozen=True)
class GradientCheck:
    """`checked_in` says in which dtype, or on which rows, where these are not the problem's own; `evaluations` are
    those of copies. `compared` holds directions in which the gradient was held against differences, by tensor.
    """

    findings: list[Finding]
    checked_in: str = ""
    evaluations: int = 0
    compared: tuple[tuple[str, Probe], ...] = ()

    def of(self, rule: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.rule == rule]


def check_points(
    problem: Problem, effort: Effort, loss: float, later: Callable[[], Later] | None, told: Told | None = None
) -> GradientCheck:
    """`loss` at the present point; `later` gives the other one, where it is asked for; `told` hears of evaluations."""
    if effort.rows is not None and problem.layout.size > effort.parameters:
        part = problem.variants.of_rows(effort.rows)
        found = None if part is problem else _check(problem, part, effort, loss, later, told)
        if found is not None and not any(finding.found for finding in found.findings):
            where = f"{found.checked_in or part.dtype} on the first {part.variants.rows} rows"
            return replace(found, checked_in=where)
    return _check(problem, problem, effort, loss, later, told)


def _check(
    problem: Problem,
    part: Problem,
    effort: Effort,
    loss: float,
    later: Callable[[], Later] | None,
    told: Told | None,
) -> GradientCheck:
    precise = part.variants.precise()
    compared: list[tuple[str, Probe]] = []
    judge = partial(_judged, precise, effort, told)
    if precise is problem:
        return GradientCheck(_at_both(judge, loss, loss, later, compared), compared=tuple(compared))
    with precise.preserved():
        findings = _at_both(judge, None, loss, later, compared)
    return GradientCheck(findings, precise.dtype, precise.evaluations, tuple(compared))


def _judged(
    problem: Problem,
    effort: Effort,
    told: Told | None,
    theta: Theta | None = None,
    value: float | None = None,
    compared: list[tuple[str, Probe]] | None = None,
) -> list[Finding]:
    """In a few coordinates for each tensor where the parameters are many."""
    at = problem.variants.here() if theta is None else theta
    reduced = problem.variants.reduced(at)
    if reduced is not None:
        return check(reduced, value=value, effort=effort, compared=compared, told=told)
    return check(problem, None if theta is None else as_vector(at), value, effort=effort, compared=compared, told=told)


def _at_both(
    judge: Callable[..., list[Finding]],
    value: float | None,
    loss: float,
    later: Callable[[], Later] | None,
    compared: list[tuple[str, Probe]],
) -> list[Finding]:
    """What holds, holds at both points."""
    findings = judge(value=value, compared=compared)
    if later is None:
        return findings
    then = later()
    # By then experts may be idle and terms clipped: what matters is what has become wrong.
    found = [f for f in judge(then.theta) if f.rule != ZERO.id or f.verdict is Verdict.FAILS]
    if abs(then.loss) < _SOLVED_LOSS * abs(loss):
        found = [_at_the_end(finding, then.loss) for finding in found]
    return merge_worse(findings, found, f"After {then.steps} steps: ")


def _at_the_end(finding: Finding, loss: float) -> Finding:
    """A gradient that has taken the loss to almost nothing is of use; what is wrong there may be the loss function's
    own clamp.
    """
    if finding.verdict is not Verdict.FAILS or finding.rule != WRONG.id:
        return finding
    text = (
        f"{finding.message} With a loss of {loss:.3g} nothing is left to learn: clamps within loss functions show, as"
        " that of BCELoss."
    )
    return replace(finding, verdict=Verdict.SUSPECT, message=text)


def check_forward_mode(problem: Problem) -> GradientCheck:
    """Forward mode alone."""
    precise = problem.variants.precise()
    with precise.preserved():
        found = check_forward(precise, reverse=False)
    holding = "The forward-mode derivative agrees with differences, within their own error."
    found = found or [WRONG.holds(message=holding)]
    if precise is problem:
        return GradientCheck(found)
    return GradientCheck(found, precise.dtype, precise.evaluations)
