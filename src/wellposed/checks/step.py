"""One report on a training step: on each of its losses, and on the step itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from wellposed.backends.watched import Watched
from wellposed.checks.order import order
from wellposed.checks.subjects import ALL, STEP
from wellposed.findings import GRAVITY, Finding, Summary
from wellposed.report import Report


def not_checked(reason: str, only: Callable[[str], bool]) -> Report:
    """Of a loss that cannot be run again: all of its rules are open."""
    rules = [rule for subject in ALL for rule in subject.rules if only(rule.id) and not rule.full]
    return Report(Summary(""), tuple(rule.undecided(reason) for rule in rules))


def report_on_step(
    losses: Sequence[tuple[str, Report]], watched: Watched, backend: str, only: Callable[[str], bool], seconds: float
) -> Report:
    """`losses` are the reports on each loss, with the line of its backward pass."""
    told = [finding for rule in STEP.rules if only(rule.id) for finding in rule.findings(watched)]
    several = len(losses) > 1
    found: list[Finding] = []
    rest: dict[str, Finding] = {}
    for place, report in losses:
        for finding in report.findings:
            if finding.found or finding in report.noted:
                prefix = f"In the loss at {place}: " if several else ""
                found.append(replace(finding, message=prefix + finding.message))
            else:
                known = rest.get(finding.rule, finding)
                rest[finding.rule] = min(known, finding, key=lambda one: GRAVITY.index(one.verdict))
    settled = {finding.rule for finding in found}
    kept = [finding for rule, finding in rest.items() if rule not in settled]
    return Report(
        _summary([report for _, report in losses], backend, watched),
        order([*told, *found, *kept]),
        sum(report.evaluations for _, report in losses),
        sum(report.seconds for _, report in losses) or seconds,
        next((report.figures for _, report in losses if report.figures), ()),
    )


def _summary(reports: Sequence[Report], backend: str, watched: Watched) -> Summary:
    """Of the largest of them; the loss where there is one."""
    known = [report.problem for report in reports if report.problem.parameters]
    largest = max(known, key=lambda summary: summary.parameters, default=Summary(backend))
    none = "steps are watched in PyTorch alone" if backend == "jax" else "no step watched"
    about = f"{len(watched.steps)} steps watched" if watched.steps else none
    return replace(largest, backend=f"{backend}, {about}", loss=largest.loss if len(known) == 1 else None)
