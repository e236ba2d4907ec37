"""A function's gradient, its gradient's gradient and so on, in one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wellposed.backends.protocol import Problem
from wellposed.checks import subjects
from wellposed.checks.run import report_on
from wellposed.findings import Verdict, merge_worse
from wellposed.gradients.forward import check_forward
from wellposed.report import Report


def function_report(problems: Sequence[Problem], forward: bool, backward: bool) -> Report:
    """The gradient of the first problem; of the others, its gradient's and so on, what does not hold in higher
    order.
    """
    if not backward:
        return _forward_report(problems)
    report = report_on(problems[0], (subjects.GRADIENTS,))
    findings = list(report.findings)
    evaluations, seconds = report.evaluations, report.seconds
    if forward:
        precise = problems[0].variants.precise()
        with precise.preserved():
            findings = merge_worse(findings, check_forward(precise), "")
    for order, problem in enumerate(problems[1:], 2):
        second = report_on(problem, (subjects.GRADIENTS,))
        # What is linear in a tensor has no second derivative by it: nothing to remark.
        telling = [f for f in second.findings if f.verdict is not Verdict.SUSPECT or f.cause not in ("unused", "zero")]
        findings = merge_worse(findings, telling, f"In {_ORDINALS.get(order, f'{order}th')} order: ")
        evaluations, seconds = evaluations + second.evaluations, seconds + second.seconds
    return replace(
        report, findings=tuple(sorted(findings, key=lambda f: f.rule)), evaluations=evaluations, seconds=seconds
    )


def _forward_report(problems: Sequence[Problem]) -> Report:
    """Forward mode alone: of the function, of its derivative along a direction, and so on."""
    report, *others = (report_on(problem, (subjects.FORWARD_MODE,)) for problem in problems)
    findings = list(report.findings)
    for order, other in enumerate(others, 2):
        findings = merge_worse(findings, other.findings, f"In {_ORDINALS.get(order, f'{order}th')} order: ")
    evaluations = sum(one.evaluations for one in (report, *others))
    return replace(report, findings=tuple(findings), evaluations=evaluations)


_ORDINALS = {2: "second", 3: "third"}
