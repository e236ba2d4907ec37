"""A record as text: a summary line, then each finding as a good compiler would print it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wellposed.findings import GRAVITY, Evidence, Finding, PlaceOf, Record, Remedy, Verdict
from wellposed.printable import harmless
from wellposed.report import bars

_STYLES = {
    Verdict.FAILS: "bold red",
    Verdict.SUSPECT: "yellow",
    Verdict.UNDECIDED: "cyan",
    Verdict.HOLDS: "green",
    Verdict.NOT_APPLICABLE: "dim",
}
_T = TypeVar("_T")
_WIDTH = 80
_MARGIN = 11
_OF_DEPTH = ("WP201", "WP202", "WP203", "WP206")


def plain(record: Record, width: int = _WIDTH, *, verbose: bool = False) -> str:
    """The report without colour. `verbose` has all that was measured and every remedy, lists what holds and what does
    not apply, and says why what is undecided is so where something was found.
    """
    return without_colour(render(record, verbose=verbose), width)


def without_colour(shown: RenderableType, width: int = _WIDTH) -> str:
    """Plain lines of at most `width` columns, with no spaces at their ends."""
    page = io.StringIO()  # escape sequences of colours are left out by rich, and others by `harmless`
    Console(file=page, width=width, color_system=None, highlight=False, force_terminal=False).print(shown)
    return "\n".join(line.rstrip() for line in harmless(page.getvalue()).rstrip("\n").split("\n"))


def render(record: Record, *, verbose: bool = False, place_of: PlaceOf | None = None) -> RenderableType:
    """The report for a rich console, which knows the terminal's width and colours; `verbose` as for `plain`, and
    `place_of` says at which line of which file a finding is.
    """
    parts: list[RenderableType] = [_summary(record)]
    shown: set[str] = set()
    for verdict in (Verdict.FAILS, Verdict.SUSPECT):
        for root, hence in record.roots:
            if root.verdict is verdict:
                parts += [Text(""), _found(root, place_of, verbose=verbose), *_consequences(hence)]
                about = next((f.rule for f in (root, *hence) if f.rule in _OF_DEPTH and f.rule not in shown), "")
                parts += _profile(record, about)
                shown |= set(_OF_DEPTH) if about else set()
    parts += [part for finding in record.noted for part in (Text(""), _note(finding))]
    parts += _terms(record)
    if record.undecided:
        found = any(finding.found for finding in record.findings)
        parts += [Text(""), *_undecided(record.undecided, named_only=found and not verbose)]
    if verbose:
        holds = [
            finding for finding in record.findings if finding.verdict is Verdict.HOLDS and finding not in record.noted
        ]
        parts += [Text(""), _listed(holds)] if holds else []
        parts += [Text(""), *_folded(Verdict.NOT_APPLICABLE, record.not_applicable)] if record.not_applicable else []
    return Group(*parts)


def _profile(record: Record, rule: str) -> list[RenderableType]:
    """The measured lines of the figure of depth, where a rule of signals has found something."""
    lines: list[RenderableType] = []
    for figure in record.figures:
        if figure.name != "depth" or rule not in figure.rules:
            continue
        for panel in figure.panels:
            values = bars.thin(panel.series[0].y)
            known = [value for value in values if value == value]
            if known:
                text = Text(f"{panel.title}, first to last:\n", style="dim")
                text.append(bars.profile(values))
                text.append(f"  {known[0]:.2g} to {known[-1]:.2g}", style="dim")
                lines.append(_margin("", text))
    return lines


def _terms(record: Record) -> list[RenderableType]:
    """A small table for a loss of several terms: what each adds to it and to its gradient, and the cosine with that."""
    figure = next((figure for figure in record.figures if figure.name == "terms"), None)
    if figure is None:
        return []
    values, norms, *cosines = (panel.series[0].y for panel in figure.panels)
    names = figure.panels[0].names
    width = max(len(name) for name in names)
    lines = Text(
        f"{'Terms of the loss':<{width}}  {'value':>9}  {'gradient':>9}{'    cosine' if cosines else ''}", "dim"
    )
    for place, (name, value, norm) in enumerate(zip(names, values, norms, strict=True)):
        along = f"{cosines[0][place]:>10.2f}" if cosines and norm else ""
        told = f"{norm:.3g}" if norm else "none"
        lines.append(f"\n{_in_one_line(name):<{width}}  {value:>9.3g}  {told:>9}{along}", style="not dim")
    return [Text(""), _margin("", lines)]


def _in_one_line(text: str) -> str:
    """No name may look like a finding of its own."""
    return harmless(text.replace("\n", "\\n"))


def _summary(record: Record) -> Text:
    counts = [(record.count(verdict), verdict) for verdict in Verdict]
    counts.sort(key=lambda pair: GRAVITY.index(pair[1]))
    line = Text("wellposed: ")
    judged = any(finding.found or finding.verdict is Verdict.HOLDS for finding in record.findings)
    word = "not ok" if not record.ok else "ok" if judged or not record.findings else "nothing judged"
    style = Verdict.FAILS if not record.ok else Verdict.HOLDS if judged else Verdict.UNDECIDED
    line.append(word, style=_STYLES[style])
    words = {
        Verdict.FAILS: ("fails", "fail"),
        Verdict.SUSPECT: ("suspect", "suspect"),
        Verdict.HOLDS: ("holds", "hold"),
    }
    said = [f"{n} {words.get(v, (v.value, v.value))[n != 1]}" for n, v in counts if n]
    line.append(f" ({', '.join(said)})")
    problem = record.problem
    about = [problem.backend]
    if problem.tensors:
        about += [f"{problem.parameters:,} parameters in {problem.tensors} tensors, {problem.dtype}"]
    if problem.checked_in:
        about += [f"gradient checked in {problem.checked_in}"]
    elif problem.coarse:
        about += [f"not in float64, as {problem.coarse}"]
    if problem.loss is not None:
        about += [f"loss {problem.loss:.5g}"]
    about += [problem.later] if problem.later else []
    count = f"{record.evaluations:,} evaluation{'s' * (record.evaluations != 1)}"
    about += [f"{count} in {record.seconds:.1f} s"]
    line.append("\n" + "; ".join(about), style="dim")
    return line


def _heading(finding: Finding, place_of: PlaceOf | None) -> Text:
    verdict = (f"{finding.verdict.value:<{_MARGIN}}", _STYLES[finding.verdict])
    line = Text.assemble(verdict, (f"{finding.rule} {finding.title}", "bold"))
    if finding.where:
        line.append(f"  at {_in_one_line(finding.where)}")
    if place_of is not None:
        file, number = place_of(finding)
        if number > 1 and f":{number}" not in f"{finding.where} {finding.message}":
            line.append(f"  {_in_one_line(file)}:{number}", style="dim")
    return line


def _note(finding: Finding) -> RenderableType:
    """Of a rule that holds, whose title would read as if it did not."""
    label = Text.assemble((f"{'note':<{_MARGIN}}", _STYLES[Verdict.HOLDS]))
    return _columns(label, Text.assemble((finding.rule, "bold"), f"  {_in_one_line(finding.message)}"))


def _found(finding: Finding, place_of: PlaceOf | None, *, verbose: bool) -> RenderableType:
    """Its first measure is the one that tells most, and its first remedy the one to try first."""
    some = slice(None) if verbose else slice(1)
    parts: list[RenderableType] = [_heading(finding, place_of), _margin("", Text(_in_one_line(finding.message)))]
    evidence = _numbered(finding.evidence[some])
    parts += [_margin("measured" if first else "", _evidence(entry)) for first, entry in evidence]
    if finding.cause:
        parts.append(_margin("cause", Text(finding.cause)))
    for first, remedy in _numbered(finding.remedies[some]):
        parts += _remedy("do" if first else "or", remedy)
    return Group(*parts)


def _undecided(by_reason: Mapping[str, list[Finding]], *, named_only: bool) -> list[RenderableType]:
    """Beside what was found the rules alone: what is wrong comes first, and is often why the rest cannot be told."""
    if not named_only:
        return _folded(Verdict.UNDECIDED, by_reason)
    rules = dict.fromkeys(finding.rule for group in by_reason.values() for finding in group)
    head = Text(f"{Verdict.UNDECIDED.value:<{_MARGIN}}", style=_STYLES[Verdict.UNDECIDED])
    return [_columns(head, Text.assemble((", ".join(rules), "bold"), ("  (why: --verbose, report.verbose())", "dim")))]


def _consequences(hence: Iterable[Finding]) -> list[RenderableType]:
    """A line each."""
    lines = []
    for first, finding in _numbered(hence):
        line = Text.assemble((finding.verdict.value, _STYLES[finding.verdict]), f" {finding.rule} {finding.title}")
        line.append(f" at {_in_one_line(finding.where)}" if finding.where else "")
        lines.append(_margin("hence" if first else "", line))
    return lines


def _numbered(entries: Iterable[_T]) -> list[tuple[bool, _T]]:
    return [(index == 0, entry) for index, entry in enumerate(entries)]


def _margin(label: str, body: Text) -> RenderableType:
    """The body beside its label, wrapped within its own column."""
    if not label:
        return Padding(body, (0, 0, 0, _MARGIN))
    head = Text(f"{label:>{_MARGIN - 2}}  ", style="dim")
    return _columns(head, body)


def _columns(head: Text, body: Text) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(width=_MARGIN, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    grid.add_row(head, body)
    return grid


def _evidence(entry: Evidence) -> Text:
    error = f" ± {entry.error:.1g}" if entry.error else ""
    unit = f" {entry.unit}" if entry.unit else ""
    line = Text(f"{entry.quantity}: ")
    line.append(f"{entry.value:.6g}{error}{unit}", style="bold")
    if entry.where:
        line.append(f" at {_in_one_line(entry.where)}")
    notes = [note for note in (f"sound: {entry.reference}" if entry.reference else "", entry.how) if note]
    if notes:
        line.append(f" ({'; '.join(notes)})", style="dim")
    return line


def _remedy(label: str, remedy: Remedy) -> list[RenderableType]:
    parts: list[RenderableType] = [_margin(label, Text(remedy.title + ("" if not remedy.code else ":")))]
    if remedy.code:
        parts.append(Padding(Text(remedy.code, style="italic", overflow="fold"), (0, 0, 0, _MARGIN + 4)))
    if remedy.before is not None and remedy.after is not None:
        text = Text(f"tried on a copy: the loss after 50 steps is {remedy.after:.4g}, without it {remedy.before:.4g}")
        for label, line in zip(("without", "with"), bars.beside((remedy.before, remedy.after)), strict=False):
            text.append(f"\n{label:<8}", style="dim").append(line)
        parts.append(_margin("", text))
    return parts


def _folded(verdict: Verdict, by_reason: Mapping[str, list[Finding]]) -> list[RenderableType]:
    """Findings of one reason share a paragraph."""
    parts: list[RenderableType] = []
    for message, group in by_reason.items():
        head = (f"{verdict.value:<{_MARGIN - 1}} ", _STYLES[verdict])
        line = Text.assemble(head, (", ".join(dict.fromkeys(f.rule for f in group)), "bold"))
        places = [f.where for f in group if f.where]
        line.append(f"  at {_in_one_line(', '.join(dict.fromkeys(places)))}" if places else "")
        parts += [line, Padding(Text(_in_one_line(message)), (0, 0, 0, _MARGIN))]
    return parts


def _listed(findings: list[Finding]) -> RenderableType:
    head = Text(f"{Verdict.HOLDS.value:<{_MARGIN}}", style=_STYLES[Verdict.HOLDS])
    return _columns(head, Text("nothing found by " + ", ".join(f"{f.rule} ({f.title})" for f in findings), style="dim"))
