"""A report on a problem, by the subjects that are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wellposed.backends.protocol import Problem
from wellposed.checks.drawing import figures_of, remedies_figure
from wellposed.checks.order import order
from wellposed.checks.session import Session
from wellposed.checks.subjects import OBJECTIVE, Subject, leave_open
from wellposed.errors import InputError, UserCodeRaised, WellposedError
from wellposed.findings import Finding, Summary, Verdict
from wellposed.gradients.effort import USUAL, Effort
from wellposed.report import Report

Progress = Callable[[str, float], None]
Treat = Callable[[Problem, Sequence[Finding], Progress], tuple[Finding, ...]]


def report_on(
    problem: Any,
    subjects: Sequence[Subject],
    only: Callable[[str], bool] = lambda rule: True,
    after_steps: int = 0,
    *,
    effort: Effort = USUAL,
    progress: Progress = lambda _what, _share: None,
    treat: Treat | None = None,
) -> Report:
    """Measured, judged, ordered, treated and drawn. `progress` is told what begins, and the share of the work behind
    it; `treat` tries the remedies of the findings.
    """
    demand_problem(problem)
    for name, given in (("only", only), ("progress", progress)):
        if not callable(given):
            hint = (
                "only=lambda rule: rule.startswith('WP5')"
                if name == "only"
                else "progress=lambda what, share: print(what, share)"
            )
            raise InputError(f"{name} must be a function, not a {type(given).__name__}", hint=hint)
    started, before = time.perf_counter(), problem.evaluations
    session = Session(problem, after_steps, effort)
    with problem.preserved():
        with users_errors_told():
            findings, raised = _findings(session, subjects, only, progress)
            loss = None if raised else session.loss
        figures = figures_of(session, findings, spectrum=effort.spectrum and not raised)
        seen_later = session.seen_later
        told = order(findings)
        told = told if treat is None else treat(problem, told, progress)
    layout, checked = problem.layout, session.known_gradient_check
    coarse = "" if checked.checked_in else problem.variants.coarse
    summary = Summary(
        problem.backend, layout.size, len(layout.names), problem.dtype, loss, checked.checked_in, seen_later, coarse
    )
    evaluations = problem.evaluations - before + checked.evaluations
    return Report(summary, told, evaluations, time.perf_counter() - started, (*figures, *remedies_figure(told)))


def findings_on(problem: Problem, subject: Subject, only: Callable[[str], bool]) -> list[Finding]:
    """Of one subject, without a report."""
    with problem.preserved():
        return _findings(Session(problem, 0), (subject,), only, lambda _what, _share: None)[0]


def _findings(
    session: Session, subjects: Sequence[Subject], only: Callable[[str], bool], progress: Progress
) -> tuple[list[Finding], str]:
    """And what the loss raises on its arguments, where it has no value."""
    findings: list[Finding] = []
    raised = session.raised if OBJECTIVE in subjects else ""
    for number, subject in enumerate(subjects):
        progress(subject.name, number / len(subjects))
        rules = [rule for rule in subject.rules if only(rule.id)]
        left = {rule.id: finding for rule in rules if (finding := leave_open(rule, session, raised)) is not None}
        judged = [rule for rule in rules if rule.id not in left]
        failing = any(finding.verdict is Verdict.FAILS for finding in findings)
        findings += [*left.values(), *(subject.judge(session, judged, failing) if judged else ())]
    return findings, raised


@contextmanager
def users_errors_told() -> Iterator[None]:
    """What the user's code raises within becomes one clear message."""
    try:
        yield
    except (WellposedError, MemoryError):
        raise
    except Exception as error:
        clear = _of_the_users(error)
        if clear is None:
            raise
        raise clear from error


def _of_the_users(error: Exception) -> InputError | None:
    """What the user's code raised as one clear message; None for a mistake of our own."""
    trace, last = error.__traceback__, ""
    entered = False
    while trace is not None:
        last = str(trace.tb_frame.f_globals.get("__name__", ""))
        entered |= not last.startswith("wellposed")
        trace = trace.tb_next
    if last.startswith("wellposed") or not entered:
        return None
    return UserCodeRaised.of(error)


def demand_problem(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise InputError(
            f"a check needs a problem, not a {type(problem).__name__}",
            hint=(
                "wrap it: wp.TorchProblem(model, loss, batch), wp.JaxProblem(loss, params, *args) "
                "or wp.FunctionProblem(value, gradient, params)"
            ),
        )
