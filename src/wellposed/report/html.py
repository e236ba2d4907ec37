"""A record as one HTML file that needs no other: readable in light and dark, on paper, by keyboard and by a screen
reader.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from itertools import pairwise

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from wellposed.findings import GRAVITY, Evidence, PlaceOf, Record, Verdict
from wellposed.report import plots
from wellposed.report.site import page_of


def page(record: Record, place_of: PlaceOf | None = None) -> str:
    """A whole page; with `place_of` each finding says at which line of which file it is."""
    return _rendered(record, whole=True, place_of=place_of)


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
    environment.globals["page_of"] = page_of
    return environment.get_template("report.html.j2")


def _named(text: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def compared(evidence: Sequence[Evidence]) -> list[tuple[Evidence, Evidence]]:
    """What is claimed and what was measured of the same, where the one stands beside the other."""
    return [
        (one, other)
        for one, other in pairwise(evidence)
        if one.quantity.startswith("claimed") and other.quantity.startswith("measured") and one.where == other.where
    ]


def columns_of(evidence: Sequence[Evidence]) -> list[tuple[str, str]]:
    """What is told of some of it beside its value: an attribute, and the heading over it."""
    columns = [("where", "where"), ("reference", "sound"), ("how", "how")]
    return [(part, heading) for part, heading in columns if any(getattr(entry, part) for entry in evidence)]


def _anchors(record: Record, prefix: str) -> dict[int, str]:
    """Of each finding, by its identity: a name within the page that is the same in the next run."""
    taken: Counter[str] = Counter()
    found = {}
    for finding in record.findings:
        name = prefix + re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{finding.rule}-{finding.where}").strip("-")
        taken[name] += 1
        found[id(finding)] = name if taken[name] == 1 else f"{name}-{taken[name]}"
    return found


def _rendered(record: Record, *, whole: bool, prefix: str = "", place_of: PlaceOf | None = None) -> str:
    holds = [finding for finding in record.findings if finding.verdict is Verdict.HOLDS and finding not in record.noted]
    counts = [(verdict, record.count(verdict)) for verdict in GRAVITY if record.count(verdict)]
    figures = [(figure, Markup(plots.svg(figure, prefix))) for figure in record.figures]
    places = {id(finding): place_of(finding) for finding in record.findings} if place_of else {}
    return _template().render(
        record=record,
        holds=holds,
        counts=counts,
        figures=figures,
        prefix=prefix,
        whole=whole,
        anchors=_anchors(record, prefix),
        places=places,
        file=next((file for file, _ in places.values()), ""),
        compared=compared,
        columns_of=columns_of,
        identity=id,
        version=version("wellposed"),
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M") if whole else "",
    )
