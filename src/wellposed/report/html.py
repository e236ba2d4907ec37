"""A record as one HTML file that needs no other: readable in light and dark, on paper, by keyboard and by a screen
reader.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from wellposed.findings import GRAVITY, Record, Verdict
from wellposed.report import plots


def page(record: Record) -> str:
    """A whole page."""
    return _rendered(record, whole=True)


def pages(records: Sequence[tuple[str, Record]]) -> str:
    """Several records in one page, each under a heading."""
    parts = (
        "<section><h1"
        f" class='wellposed'>{escape(name)}</h1>{_rendered(record, whole=False, prefix=f'report-{number}-')}</section>"
        for number, (name, record) in enumerate(records)
    )
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    style = "<style>:root { color-scheme: light dark; } body { margin: 0; }</style>"
    return (
        "<!doctype html><html"
        f" lang='en'><head>{head}<title>wellposed</title>{style}</head><body>{''.join(parts)}</body></html>"
    )


def fragment(record: Record) -> str:
    """What a notebook shows: a part of a page, with a style of its own."""
    return _rendered(record, whole=False)


@cache
def _template() -> Template:
    loader = PackageLoader("wellposed", "report/templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["named"] = _named
    return environment.get_template("report.html.j2")


def _named(text: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _rendered(record: Record, *, whole: bool, prefix: str = "") -> str:
    holds = [finding for finding in record.findings if finding.verdict is Verdict.HOLDS and finding not in record.noted]
    counts = [(verdict, record.count(verdict)) for verdict in GRAVITY if record.count(verdict)]
    figures = [(figure, Markup(plots.svg(figure, prefix))) for figure in record.figures]
    return _template().render(record=record, holds=holds, counts=counts, figures=figures, prefix=prefix, whole=whole)
