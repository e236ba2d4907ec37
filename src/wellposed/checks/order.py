"""The order in which a person should act, and which findings are only consequences of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wellposed.findings import Finding, Verdict

_ORDER = (
    "WP104", "WP401", "WP403", "WP501", "WP404", "WP506", "WP507", "WP105", "WP101", "WP102", "WP103", "WP302",
    "WP303", "WP301", "WP304", "WP306", "WP207", "WP203", "WP206", "WP204", "WP205", "WP201", "WP202", "WP208",
    "WP305", "WP402", "WP505", "WP502", "WP504", "WP503", "WP508",
)  # fmt: skip
"""From what makes everything behind it meaningless to what only shows it."""

_FOLLOWS = {
    "WP301": ("WP303",),
    "WP207": ("WP104", "WP101", "WP102", "WP303", "WP301", "WP304", "WP305", "WP306", "WP402"),
    "WP203": ("WP302", "WP303", "WP301", "WP304", "WP306"),
    "WP203:activation": ("WP302", "WP303", "WP301", "WP304", "WP306", "WP205"),
    "WP203:dead": ("WP304", "WP204"),
    "WP206": ("WP302", "WP303", "WP301", "WP304", "WP205", "WP204", "WP203"),
    "WP204": ("WP304", "WP101", "WP102", "WP303", "WP301"),
    "WP205": ("WP101", "WP102", "WP304", "WP303", "WP301"),
    "WP201": ("WP302", "WP303", "WP301", "WP304", "WP203", "WP206", "WP204", "WP205"),
    "WP201:dead": ("WP304", "WP204"),
    "WP201:detached": ("WP403", "WP505", "WP501"),
    "WP202": ("WP303", "WP301", "WP306"),
    "WP305:targets-too-large": ("WP401",),
    "WP305:targets-not-centred": ("WP401",),
    "WP305": ("WP401", "WP101", "WP102", "WP303", "WP301", "WP306", "WP203"),
    "WP402": ("WP104", "WP401", "WP403", "WP404", "WP101", "WP102", "WP303", "WP301", "WP306", "WP202", "WP305"),
    "WP404": ("WP401", "WP302", "WP303", "WP301", "WP304", "WP206", "WP204", "WP205", "WP203"),
    "WP505:detached": ("WP401", "WP403"),
    "WP505": ("WP401", "WP403", "WP404", "WP302", "WP201", "WP204", "WP205"),
    "WP503": ("WP101", "WP201", "WP205"),
    "WP508": ("WP401", "WP404", "WP505", "WP302", "WP201", "WP205"),
}
"""By rule, or rule and cause, the rules that it may follow from, the likeliest first."""


def order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Roots before what follows from them, `fails` before `suspect`; then what is undecided and what holds, by rule."""
    found = [finding for finding in findings if finding.found]
    marked = [_marked(finding, found) for finding in found]
    heads = {finding.rule for finding in marked if not finding.follows}
    # Where two may follow from each other, which was first is not known: both are told as they are.
    marked = [finding if finding.follows in heads else replace(finding, follows="") for finding in marked]
    roots = sorted((finding for finding in marked if not finding.follows), key=_urgency)
    told: list[Finding] = []
    for root in roots:
        first = all(root.rule != other.rule for other in told)
        told += [root, *sorted((f for f in marked if first and f.follows == root.rule), key=_urgency)]
    order = (Verdict.UNDECIDED, Verdict.HOLDS, Verdict.NOT_APPLICABLE)
    rest = sorted((f for f in findings if not f.found), key=lambda f: (order.index(f.verdict), f.rule))
    return (*told, *rest)


def _urgency(finding: Finding) -> tuple[bool, int]:
    return finding.verdict is not Verdict.FAILS, _ORDER.index(finding.rule) if finding.rule in _ORDER else len(_ORDER)


def _marked(finding: Finding, found: Sequence[Finding]) -> Finding:
    """With the rule that it follows from in the end, of those found with a verdict as grave; what is known to inherit
    another's error of the same rule follows from that.
    """
    if finding.follows == finding.rule:
        return finding
    by_rule: dict[str, Finding] = {}
    for other in found:
        if other.rule not in by_rule or by_rule[other.rule].verdict is not Verdict.FAILS:
            by_rule[other.rule] = other
    root, at, passed = "", finding, {finding.rule}
    while True:
        causes = _FOLLOWS.get(f"{at.rule}:{at.cause}") or _FOLLOWS.get(at.rule, ())
        known = [by_rule[cause] for cause in causes if cause in by_rule and cause not in passed]
        grave = [cause for cause in known if cause.verdict is Verdict.FAILS or finding.verdict is Verdict.SUSPECT]
        if not grave:
            return replace(finding, follows=root)
        at = grave[0]
        root = at.rule
        passed.add(root)
