"""WP202: exploding gradient."""

from __future__ import annotations

from typing import Any

from wellposed.findings import Finding, Verdict
from wellposed.rule import Rule
from wellposed.signals.along_depth import FAILS, SUSPECT, judge_change, tell
from wellposed.signals.backward import Backward
from wellposed.signals.rules.vanishing import zero_over_last
from wellposed.signals.rules.words import CAUSES, INITIALIZE, SCHOENHOLZ, SKIP
from wellposed.signals.trace import Trace

_NORMALISED = 0.25  # normalisations per place of the trunk

EXPLODING = Rule(
    id="WP202",
    subject="signals",
    priority=230,
    follows=("WP303", "WP301", "WP306"),
    cause_follows={"not-finite": ("WP104", "WP207")},
    title="exploding gradient",
    claim="The gradient does not grow out of bounds on its way back to the first layer.",
    judged=(
        f"The same ratio as for WP201. Above {FAILS:g} it fails, above {SUSPECT:g} it is suspect; where"
        f" {100 * _NORMALISED:g} % of the places or more are normalised, it is suspect at most, since such networks"
        " grow and still train."
    ),
    causes=CAUSES,
    remedies=(INITIALIZE, SKIP),
    references=(SCHOENHOLZ, "Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv 1902.08129"),
    needs=("loss", "gradient", "layers"),
    figures=("depth", "spectrum"),
    judge=lambda measured: judge(measured),
    treatment="initialize",
)


def judge(measured: Any) -> Finding:
    trace: Trace = measured.trace
    back: Backward = measured.backward
    if back.broken is not None:
        text = f"The gradient at `{back.broken.name}` is NaN or infinite."
        return EXPLODING.found(Verdict.FAILS, text, where=back.broken.name, cause="not-finite")
    left_open = back.leave_open(EXPLODING)
    if left_open is not None:
        return left_open
    if back.silent and back.first is not None:
        return EXPLODING.holds(zero_over_last(back.first))
    course = back.course(trace)
    verdict = judge_change(course.along.total, len(course.along.factors))
    if verdict is Verdict.FAILS and trace.norms >= _NORMALISED * len(trace.trunk):
        verdict = Verdict.SUSPECT
    if verdict is Verdict.HOLDS:
        return EXPLODING.holds(course.evidence)
    return tell(EXPLODING, verdict, course, trace)
