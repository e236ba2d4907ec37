"""A rule in words: what it claims, how it judges, which causes it knows and what helps; and rules by their subjects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from wellposed.findings import Remedy
from wellposed.rule import Cause, Rule


def explained(rule: Rule) -> RenderableType:
    parts: list[RenderableType] = [Text(f"{rule.id} {rule.title}", style="bold")]

    def section(heading: str, bodies: Iterable[RenderableType]) -> None:
        shown = list(bodies)
        if shown:
            parts.extend([Text(f"\n{heading}", style="bold"), *(Padding(body, (0, 0, 0, 2)) for body in shown)])

    section("Claim", [Text(rule.claim)])
    section("How it is judged", [Text(rule.judged)])
    section("Causes", [part for cause in rule.causes for part in _cause(cause)])
    section("Remedies", [part for remedy in rule.remedies for part in _remedy(remedy)])
    section("References", map(Text, rule.references))
    return Group(*parts)


def listed_rules(rules: Sequence[Rule]) -> RenderableType:
    """Their titles, under what they are about."""
    parts: list[RenderableType] = []
    for subject, group in groupby(rules, key=lambda rule: rule.subject):
        parts.append(Text(f"{chr(10) if parts else ''}{subject}", style="bold"))
        parts += [Padding(Text.assemble((rule.id, "bold"), f" {rule.title}"), (0, 0, 0, 2)) for rule in group]
    return Group(*parts)


def _cause(cause: Cause) -> list[RenderableType]:
    parts: list[RenderableType] = [Text.assemble((cause.slug, "bold"), f": {cause.means}")]
    if cause.confirm:
        parts.append(Padding(Text(f"To confirm: {cause.confirm}"), (0, 0, 0, 2)))
    return parts + [Padding(part, (0, 0, 0, 2)) for remedy in cause.remedies for part in _remedy(remedy)]


def _remedy(remedy: Remedy) -> list[RenderableType]:
    code = [Padding(Text(remedy.code, style="italic"), (0, 0, 0, 4))] if remedy.code else []
    return [Text(f"Remedy: {remedy.title}"), *code]
