"""The five subjects and the objective: from a session to findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wellposed import rules
from wellposed.backends.protocol import Problem
from wellposed.checks.session import Session
from wellposed.findings import GRAVITY, Finding, Verdict
from wellposed.gradients import check_gradients as gradient_checks
from wellposed.gradients.forward import check_forward
from wellposed.inputs import check_inputs as input_checks
from wellposed.inputs.features import as_array, features_of
from wellposed.numerics.arrays import Array
from wellposed.objective import check_objective as objective_checks
from wellposed.rules import Rule
from wellposed.rules.signals import SATURATED
from wellposed.signals import check_signals as signal_checks
from wellposed.signals.trace import Trace, trace_of
from wellposed.weights import check_weights as weight_checks

_LARGE, _ROWS = 1_000_000, 4
"""A quick look at the gradient of as many parameters takes that many rows first, or half of them all: what is right
there is left alone.
"""
_SOLVED_LOSS = 1e-5  # of the loss: what is left of it where a problem is solved
NO_LAYERS = "This problem shows no layers: it is given by its value and gradient alone."


def inputs(session: Session) -> list[Finding]:
    """Of several input arrays each is judged, and of each rule what is worst is told."""
    arrays = {name: as_array(data, "the inputs") for name, data in session.problem.network.named_inputs().items()}
    varying = {name: array for name, array in arrays.items() if array.size and (array != array.flat[0]).any()}
    if varying:  # what is one number throughout, as a mask of ones or a first state is, is no data beside what varies
        arrays = varying
    if not arrays:
        return input_checks.not_judged("This problem does not show its inputs; wp.check_inputs(x) takes them directly.")
    told = [_inputs_of(session, name, array) for name, array in arrays.items()]
    worst = [min(same, key=lambda finding: GRAVITY.index(finding.verdict)) for same in zip(*told, strict=True)]
    return worst if len(told) > 1 else told[0]


def _inputs_of(session: Session, name: str, array: Array) -> list[Finding]:
    if array.dtype.kind in "iub" and array.dtype.itemsize > 1:
        return input_checks.not_judged(
            "The inputs are whole numbers, read as indices or counts: their scale means nothing."
        )
    run = None if session.raised or session.backward_raised else session.run
    first = run.operations[0] if run is not None and run.operations else None
    conv = first is not None and first.kind == "conv" and array.ndim > 2
    features = replace(features_of(array, session.problem.network.channel_axis if conv else None), label=name)
    normalised = ""
    if first is not None and not first.inputs and first.kind == "norm":
        normalised = f"The model's first operation, {first.name}, normalises its inputs."
    return sorted(input_checks.check(features, normalised=normalised), key=lambda finding: finding.rule)


def signals(session: Session) -> list[Finding]:
    """Here and, where that is asked for, again after some steps: what fails only there is added (units that are sure of
    themselves by then are no fault).
    """
    findings = _signals(session)
    if not session.steps or session.failing or any(finding.verdict is Verdict.FAILS for finding in findings):
        return findings  # what fails already is to be mended first: what it leads to tells nothing new
    steps, later = session.later
    known = {finding.rule for finding in findings if finding.found} | {SATURATED.id}
    return merge_worse(
        findings,
        [f for f in _signals(later) if f.verdict is Verdict.FAILS and f.rule not in known],
        f"After {steps} steps: ",
    )


def _signals(session: Session) -> list[Finding]:
    if session.trace is None:
        return [*signal_checks.not_judged(NO_LAYERS), session.finiteness]

    def after_steps(steps: int) -> Trace:
        return trace_of(session.after_steps(steps)[1], session.problem.dtype)

    return [*signal_checks.check(session.trace, after_steps), session.finiteness]


def weights(session: Session) -> list[Finding]:
    if session.run is None or session.trace is None:
        return weight_checks.not_judged(NO_LAYERS)
    return weight_checks.check(
        session.trace, session.run, session.weights, session.weights_after_a_step, session.with_a_small_output_layer
    )


def objective(session: Session) -> list[Finding]:
    problem = session.problem
    found = [objective_checks.check_fit(session.loss_arguments, session.raised)]
    if session.raised:
        return found + [
            finding for finding in leave_undecided(objective, session.raised) if finding.rule != rules.objective.FIT.id
        ]
    if session.backward_raised:
        rest = without_gradient(objective, session.backward_raised)
        return found + [finding for finding in rest if finding.rule != rules.objective.FIT.id]
    return [
        *found,
        objective_checks.check_rate(session.loss, session.theta, session.optimizer_steps),
        objective_checks.check_reached(
            problem.layout,
            session.gradient,
            problem.training.left_out(),
            problem.training.unregistered(),
            session.uncut,
            session.matters,
            session.redrawn,
        ),
        objective_checks.check_dependence(
            session.dependence, session.dependence_after_a_step, session.dependence_precisely, reached=session.reached
        ),
    ]


def gradients(session: Session) -> list[Finding]:
    problem = session.problem
    session.forget()
    if session.effort == "quick" and problem.layout.size > _LARGE:
        part = problem.variants.of_rows(_ROWS)
        findings = [] if part is problem else _gradients_of(session, part)
        if findings and not any(finding.found for finding in findings):
            session.checked_in = f"{session.checked_in or part.dtype} on the first {part.variants.rows} rows"
            return findings
    return _gradients_of(session, problem)


def _gradients_of(session: Session, problem: Problem) -> list[Finding]:
    precise = problem.variants.precise()
    if precise is session.problem:
        session.checked_in = ""
        return _at_both_points(session, precise, session.loss)
    session.checked_in = precise.dtype
    with precise.preserved():
        findings = _at_both_points(session, precise, None)
    session.evaluations += precise.evaluations
    return findings


def forward_mode(session: Session) -> list[Finding]:
    """Forward mode alone."""
    precise = session.problem.variants.precise()
    with precise.preserved():
        found = check_forward(precise, reverse=False)
    if precise is not session.problem:
        session.checked_in = precise.dtype
        session.evaluations += precise.evaluations
    return found or [
        rules.gradients.WRONG.holds(
            message="The forward-mode derivative agrees with differences, within their own error."
        )
    ]


def _at_both_points(session: Session, problem: Problem, loss: float | None) -> list[Finding]:
    """At the present parameters and, where that is asked for, again after some steps: what holds, holds at both."""
    quick = session.effort == "quick"
    findings = gradient_checks.check(
        problem, value=loss, quick=quick, compared=session.compared, each=session.effort == "full"
    )
    if not session.steps:
        return findings
    steps, later = session.later
    found = gradient_checks.check(problem, later.theta, quick=quick)
    # By then experts may be idle and terms clipped: what matters is what has become wrong.
    found = [
        finding for finding in found if finding.rule != rules.gradients.ZERO.id or finding.verdict is Verdict.FAILS
    ]
    if abs(later.loss) < _SOLVED_LOSS * abs(session.loss):
        found = [_at_the_end(finding, later.loss) for finding in found]
    return merge_worse(findings, found, f"After {steps} steps: ")


def _at_the_end(finding: Finding, loss: float) -> Finding:
    """A gradient that has taken the loss to almost nothing is of use; what is wrong there may be the loss function's
    own clamp.
    """
    if finding.verdict is not Verdict.FAILS or finding.rule != rules.gradients.WRONG.id:
        return finding
    text = (
        f"{finding.message} With a loss of {loss:.3g} nothing is left to learn: clamps within loss functions show, as"
        " that of BCELoss."
    )
    return replace(finding, verdict=Verdict.SUSPECT, message=text)


def merge_worse(findings: Sequence[Finding], later: Sequence[Finding], prefix: str) -> list[Finding]:
    """What holds, holds in both; what does not hold later is added with the prefix."""
    worse = [
        replace(finding, message=prefix + finding.message) for finding in later if finding.verdict is not Verdict.HOLDS
    ]
    told = {finding.rule for finding in worse}
    return [finding for finding in findings if finding.verdict is not Verdict.HOLDS or finding.rule not in told] + worse


Subject = Callable[[Session], list[Finding]]
RULES_OF: dict[Subject, tuple[Rule, ...]] = {
    inputs: rules.inputs.RULES,
    objective: rules.objective.RULES,
    signals: rules.signals.RULES,
    weights: rules.weights.RULES,
    gradients: rules.gradients.RULES,
    forward_mode: (rules.gradients.WRONG,),
}


def leave_undecided(subject: Subject, raised: str) -> list[Finding]:
    """The subject's rules where the loss has no value."""
    return [rule.undecided(f"The loss has no value: it raised {raised}.") for rule in RULES_OF[subject]]


def without_gradient(subject: Subject, raised: str) -> list[Finding]:
    """The subject's rules where the backward pass raises."""
    return [rule.undecided(f"There is no gradient: the backward pass raises {raised}.") for rule in RULES_OF[subject]]


ALL: tuple[Subject, ...] = (objective, inputs, weights, signals, gradients)
