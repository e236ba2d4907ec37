"""The order in which a person should act, and which findings are only consequences of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wellposed.catalogue import CATALOGUE
from wellposed.findings import GRAVITY, Finding, Verdict


def order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Roots before what follows from them, `fails` before `suspect`; then what is undecided and what holds, by rule."""
    found = [finding for finding in findings if finding.found]
    marked = [_marked(finding, found) for finding in found]
    hence = {finding.rule: finding.follows for finding in marked if finding.follows != finding.rule}
    marked = [
        replace(finding, follows=hence.get(finding.rule) or finding.rule)
        if finding.follows == finding.rule
        else finding
        for finding in marked
    ]
    heads = {finding.rule for finding in marked if not finding.follows}
    # Where two may follow from each other, which was first is not known: both are told as they are.
    marked = [finding if finding.follows in heads else replace(finding, follows="") for finding in marked]
    roots = sorted((finding for finding in marked if not finding.follows), key=_urgency)
    told: list[Finding] = []
    for root in roots:
        first = all(root.rule != other.rule for other in told)
        told += [root, *sorted((f for f in marked if first and f.follows == root.rule), key=_urgency)]
    rest = sorted((f for f in findings if not f.found), key=lambda f: (GRAVITY.index(f.verdict), f.rule))
    return (*told, *rest)


def _urgency(finding: Finding) -> tuple[bool, int]:
    return finding.verdict is not Verdict.FAILS, CATALOGUE[finding.rule].priority


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
        causes = CATALOGUE[at.rule].may_follow(at.cause)
        known = [by_rule[cause] for cause in causes if cause in by_rule and cause not in passed]
        grave = [cause for cause in known if cause.verdict is Verdict.FAILS or finding.verdict is Verdict.SUSPECT]
        if not grave:
            return replace(finding, follows=root)
        at = grave[0]
        root = at.rule
        passed.add(root)
