"""A remedy tried: the finding judged again on a treated copy, and the loss after as many steps as before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wellposed.backends.protocol import Problem
from wellposed.checks.run import Progress, findings_on
from wellposed.checks.subjects import ALL
from wellposed.errors import WellposedError
from wellposed.findings import Finding, Verdict
from wellposed.remedies.losses import loss_after
from wellposed.remedies.treatments import Treatment, treatment_of

STEPS = 50
_WORSE_LOSS, _NO_BETTER = 1.1, 0.99


@dataclass(frozen=True, slots=True)
class Trial:
    """`gone`: whether the rule no longer finds what it found; losses after 50 steps of the optimizer (Adam without
    one), NaN where the loss has no value."""

    gone: bool
    before: float
    after: float


def try_remedies(
    problem: Problem, findings: Sequence[Finding], progress: Progress = lambda _what, _share: None
) -> tuple[Finding, ...]:
    """The findings, those that have a remedy with what it does to a copy. Verdicts stay: what was measured is as it
    was, and one remedy alone may not show what several do together.
    """
    before: list[float] = []  # measured once, and only where there is something to try

    def loss_before() -> float:
        if not before:
            before.append(loss_after(problem, STEPS))
        return before[0]

    told = []
    for number, finding in enumerate(findings):
        progress("remedies", number / len(findings))
        treatment = treatment_of(finding) if finding.found and not finding.follows else None
        trial = None if treatment is None else _trial(problem, finding, treatment, loss_before)
        told.append(finding if trial is None or treatment is None else _with(finding, treatment, trial))
    return tuple(told)


def _trial(problem: Problem, finding: Finding, treatment: Treatment, loss_before: Callable[[], float]) -> Trial | None:
    copied = problem.variants.copied()
    try:
        treated = None if copied is None else treatment.apply(copied, finding)
        if treated is None:
            return None
        subject = next(subject for subject in ALL if any(rule.id == finding.rule for rule in subject.rules))
        again = findings_on(treated, subject, only=lambda rule: rule == finding.rule)
    except WellposedError:  # the remedy cannot be carried out here
        return None
    gone = not any(other.found for other in again if other.where == finding.where or other.verdict is Verdict.FAILS)
    return Trial(gone, loss_before(), loss_after(treated, STEPS))


def _with(finding: Finding, treatment: Treatment, trial: Trial) -> Finding:
    if treatment.same_loss and trial.after > _WORSE_LOSS * trial.before:
        losses = f"{trial.before:.4g} to {trial.after:.4g}"
        text = f"{finding.message} Tried alone on a copy, the remedy raises the loss after {STEPS} steps from {losses}."
        return replace(finding, message=text)
    first, *others = finding.remedies
    telling = np.isfinite([trial.before, trial.after]).any() and (
        trial.gone or not _NO_BETTER * trial.before <= trial.after <= trial.before
    )
    if not treatment.same_loss and trial.after > _WORSE_LOSS * trial.before:
        text = f"{finding.message} With the remedy the loss is another, and larger after {STEPS} steps."
        finding = replace(finding, message=text)
    tried = replace(first, before=trial.before, after=trial.after) if telling else first
    if trial.gone:
        return replace(finding, remedies=(tried, *others))
    text = f"{finding.message} Tried on a copy, the remedy leaves what was measured here as it is."
    return replace(finding, message=text, remedies=(tried, *others))
