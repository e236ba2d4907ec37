"""A report on a problem, by the subjects that are asked for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from math import inf
from typing import Any

from wellposed.backends.lines import find_raise
from wellposed.backends.protocol import Problem
from wellposed.backends.select import joint_problem_of
from wellposed.checks.dialect import in_words_of
from wellposed.checks.drawing import figures_of, remedies_figure
from wellposed.checks.order import order
from wellposed.checks.session import Session
from wellposed.checks.subjects import GRADIENTS, OBJECTIVE, Subject, leave_open
from wellposed.checks.threads import LONG, OneThread
from wellposed.errors import InputError, Interrupted, UserCodeRaised, WellposedError
from wellposed.findings import Finding, Summary, Verdict
from wellposed.gradients.effort import USUAL, Effort
from wellposed.gradients.equivalence import across_ranks
from wellposed.gradients.rules.ranks import RANKS
from wellposed.report import Report
from wellposed.rule import Rule

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
    seconds: float = inf,
) -> Report:
    """Measured, judged, ordered, treated and drawn. `progress` is told what begins, and the share of the work behind
    it; `treat` tries the remedies of the findings. What is not judged after so many seconds is undecided.

    Where several ranks hold the model, each of them calls it, and gets the same report.
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
    work = partial(
        _report_on,
        subjects=subjects,
        after_steps=after_steps,
        effort=effort,
        progress=progress,
        treat=treat,
        seconds=seconds,
    )
    joint = joint_problem_of(problem)
    return work(problem, only=only) if joint is None else _of_all_ranks(joint, work, subjects, only)


def _of_all_ranks(
    joint: Any, work: Callable[..., Report], subjects: Sequence[Subject], only: Callable[[str], bool]
) -> Report:
    """The report on what they have in common, with what they arrive at together; the first rank's, for all of them."""
    rules = [rule for subject in subjects for rule in subject.rules if only(rule.id)]
    added: list[Finding] = []
    if GRADIENTS in subjects and only(RANKS.id):
        seen = joint.across_ranks()
        added.append(across_ranks(seen))
        unequal = seen.values_apart or seen.gradients_apart
        if seen.withheld or unequal:  # the user would be told the same again, and ranks that decide otherwise hang
            why = _WITHHELD if seen.withheld else _UNEQUAL
            added += [rule.undecided(why) for rule in rules if "loss" in rule.needs and not rule.full]
    left = {rule.id for rule in rules} - {finding.rule for finding in added}
    with joint.alike():
        report = work(joint.problem, only=left.__contains__)
    told: Report = joint.of_the_first(replace(report, findings=tuple(order([*report.findings, *added]))))
    return told


_WITHHELD = "No rank passes its gradients on (WP507)."
_UNEQUAL = "The ranks do not have the same parameters and gradients (WP507)."


def _report_on(
    problem: Problem,
    *,
    subjects: Sequence[Subject],
    only: Callable[[str], bool],
    after_steps: int,
    effort: Effort,
    progress: Progress,
    treat: Treat | None,
    seconds: float,
) -> Report:
    started, before = time.perf_counter(), problem.evaluations
    course = _Course(progress, len(subjects), seconds)
    session = Session(problem, after_steps, effort, told=course.count)
    with problem.preserved(), OneThread() as threads, warnings.catch_warnings():
        warnings.filterwarnings("once", append=True)  # not at each of some thirty evaluations
        with users_errors_told(problem.network.called()):
            findings, raised, stopped = _findings(session, subjects, only, course, threads)
            whole = not stopped
            loss = None if raised else session.loss if whole else session.known_loss
        figures = figures_of(session, findings, spectrum=effort.spectrum and not raised) if whole else ()
        seen_later = session.seen_later
        told = in_words_of(problem.backend, order(findings))
        told = told if treat is None or not whole else treat(problem, told, progress)
    layout, checked = problem.layout, session.known_gradient_check
    coarse = "" if checked.checked_in else problem.variants.coarse
    summary = Summary(
        problem.backend, layout.size, len(layout.names), problem.dtype, loss, checked.checked_in, seen_later, coarse
    )
    evaluations = problem.evaluations - before + checked.evaluations
    report = Report(summary, told, evaluations, time.perf_counter() - started, (*figures, *remedies_figure(told)))
    if stopped == _INTERRUPTED:
        raise Interrupted(report)
    return report


def findings_on(problem: Problem, subject: Subject, only: Callable[[str], bool]) -> list[Finding]:
    """Of one subject, without a report."""
    with problem.preserved():
        return _of_subject(Session(problem, 0), subject, only, "", ())


def _findings(
    session: Session, subjects: Sequence[Subject], only: Callable[[str], bool], course: _Course, threads: OneThread
) -> tuple[list[Finding], str, str]:
    """And what the loss raises on its arguments, where it has no value; and why not all was judged, "" where it was:
    Ctrl-C, and the end of the time given, leave what was not undecided.
    """
    findings: list[Finding] = []
    raised, left = "", list(subjects)
    try:
        begun = time.perf_counter()
        raised = session.raised if OBJECTIVE in subjects else ""
        if time.perf_counter() - begun > LONG or OBJECTIVE not in subjects:
            threads.lift()
        while left:
            course.begin(left[0].name, len(subjects) - len(left))
            findings += _of_subject(session, left[0], only, raised, findings)
            del left[0]
    except (KeyboardInterrupt, _OutOfTime) as end:
        why = _INTERRUPTED if isinstance(end, KeyboardInterrupt) else _SPENT.format(seconds=course.seconds)
        rest = [rule for subject in left for rule in _asked(session, subject, only)]
        known = [session.known_findings(rule) or [rule.undecided(why)] for rule in rest]
        return [*findings, *chain.from_iterable(known)], raised, why
    return findings, raised, ""


_INTERRUPTED = "The check was interrupted before this was judged."
_SPENT = "The {seconds:g} seconds that the check may take were over before this was judged."


class _OutOfTime(BaseException):
    """Goes through whatever is being measured, as Ctrl-C does."""


def _of_subject(
    session: Session, subject: Subject, only: Callable[[str], bool], raised: str, before: Sequence[Finding]
) -> list[Finding]:
    rules = _asked(session, subject, only)
    left = {rule.id: finding for rule in rules if (finding := leave_open(rule, session, raised)) is not None}
    judged = [rule for rule in rules if rule.id not in left]
    failing = any(finding.verdict is Verdict.FAILS for finding in before)
    return [*left.values(), *(subject.judge(session, judged, failing) if judged else ())]


def _asked(session: Session, subject: Subject, only: Callable[[str], bool]) -> list[Rule]:
    return [rule for rule in subject.rules if only(rule.id) and (session.effort.full or not rule.full)]


class _Course:
    """Tells `progress` what begins and, within it, of evaluations taken and those that the budget has, where it has an
    end; raises `_OutOfTime` after so many seconds.
    """

    def __init__(self, progress: Progress, parts: int, seconds: float) -> None:
        self._progress, self._part, self.seconds = progress, 1 / parts, seconds
        self._name, self._share, self._ends = "", 0.0, time.perf_counter() + seconds

    def begin(self, name: str, number: int) -> None:
        self._demand_time()
        self._name, self._share = name, number * self._part
        self._progress(name, self._share)

    def _demand_time(self) -> None:
        if time.perf_counter() > self._ends:
            raise _OutOfTime

    def count(self, taken: int, most: float) -> None:
        self._demand_time()
        told = f"{taken:,} evaluation{'s' * (taken != 1)}"
        if most < inf:
            share = self._share + self._part * min(taken / most, 1.0)
            self._progress(f"{self._name}: {told}, of at most {most:,.0f}", share)
        else:
            self._progress(f"{self._name}: {told}", self._share)


_FRAMEWORKS = ("wellposed", "torch", "jax", "numpy")  # whose lines say less than those that called them


@contextmanager
def users_errors_told(called: str = "") -> Iterator[None]:
    """What the user's code raises within becomes one clear message, which says how it was `called`."""
    try:
        yield
    except (WellposedError, MemoryError):
        raise
    except Exception as error:
        clear = _of_the_users(error, called)
        if clear is None:
            raise
        raise clear from error


def _of_the_users(error: Exception, called: str) -> InputError | None:
    """What the user's code raised as one clear message; None for a mistake of our own."""
    trace, last = error.__traceback__, ""
    entered = False
    while trace is not None:
        last = str(trace.tb_frame.f_globals.get("__name__", ""))
        entered |= not last.startswith("wellposed")
        trace = trace.tb_next
    if last.startswith("wellposed") or not entered:
        return None
    return UserCodeRaised.of(error, find_raise(error.__traceback__, _FRAMEWORKS), called)


def demand_problem(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise InputError(
            f"a check needs a problem, not a {type(problem).__name__}",
            hint=(
                "wrap it: wp.TorchProblem(model, loss, batch), wp.JaxProblem(loss, params, *args) "
                "or wp.FunctionProblem(value, gradient, params)"
            ),
        )
