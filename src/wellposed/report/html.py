"""A record as one HTML file that needs no other: readable in light and dark, on paper, by keyboard and by a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from wellposed.findings import Finding, Record, Verdict

_VERDICTS = (Verdict.FAILS, Verdict.SUSPECT, Verdict.UNDECIDED, Verdict.HOLDS)


def page(record: Record) -> str:
    """A whole page."""
    return _rendered(record, whole=True)


def pages(records: Sequence[tuple[str, Record]]) -> str:
    """Several records in one page, each under a heading."""
    parts = (f"<section><h1 class='wellposed'>{escape(name)}</h1>{fragment(record)}</section>" for name, record in records)
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    style = "<style>:root { color-scheme: light dark; } body { margin: 0; }</style>"
    return f"<!doctype html><html lang='en'><head>{head}<title>wellposed</title>{style}</head><body>{''.join(parts)}</body></html>"


def fragment(record: Record) -> str:
    """What a notebook shows: a part of a page, with a style of its own."""
    return _rendered(record, whole=False)


@cache
def _template() -> Template:
    loader = PackageLoader("wellposed", "report/templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["named"] = _named
    return environment.get_template("report.html.j2")


def _named(text: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _rendered(record: Record, *, whole: bool) -> str:
    found = [finding for finding in record.findings if finding.verdict in (Verdict.FAILS, Verdict.SUSPECT)]
    roots = [finding for finding in found if not finding.follows]
    first = {finding.rule: finding for finding in reversed(roots)}
    cards = [(root, [f for f in found if f.follows == root.rule] if first[root.rule] is root else []) for root in roots]
    undecided = _by_message(finding for finding in record.findings if finding.verdict is Verdict.UNDECIDED)
    holds = [finding for finding in record.findings if finding.verdict is Verdict.HOLDS]
    counts = [(verdict, record.count(verdict)) for verdict in _VERDICTS if record.count(verdict)]
    return _template().render(record=record, roots=cards, undecided=undecided, holds=holds, counts=counts, whole=whole)


def _by_message(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.message, []).append(finding)
    return list(groups.items())
