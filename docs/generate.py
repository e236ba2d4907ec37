"""The documentation's sources in `build/docs`: the pages that are written by hand, and those that are made from the
program itself: one for each rule, the chapters of the tour, run as they are made, the backends, the report's schema.
"""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import wellposed as wp
from wellposed.backends.protocol import CAPABILITIES
from wellposed.catalogue import CATALOGUE
from wellposed.figures import Figure
from wellposed.report import Report, plots
from wellposed.rule import Rule
from wellposed.tour import CHAPTERS
from wellposed.tour.chapter import Chapter, Code, Part, Table

SUBJECTS = {
    "inputs": "Inputs",
    "signals": "Signals",
    "weights": "Weights",
    "objective": "The objective",
    "gradients": "Gradients",
    "step": "The training step as it runs",
}


ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build/docs"


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs/pages", PAGES)
    written("changelog.md", (ROOT / "CHANGELOG.md").read_text())
    written("report.schema.json", (ROOT / "src/wellposed/report/schema.json").read_text())
    written("rules/index.md", index())
    for rule in CATALOGUE.values():
        written(f"rules/{rule.id}.md", rule_page(rule))
    written("backends.md", backends())
    for number, make in enumerate(CHAPTERS, 1):
        written(f"tour/{number}.md", chapter_page(number, make()))


def written(path: str, text: str) -> None:
    page = PAGES / path
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text)


def backends() -> str:
    lines = [
        "# Backends",
        "",
        "What each of them offers, read off the classes. What one does not offer has the default that its",
    ]
    lines += ["capability says; a rule that needs it is then `not applicable` or `undecided`, with the reason.", ""]
    return "\n".join([*lines, completeness()])


BACKENDS = (wp.TorchProblem, wp.JaxProblem, wp.FunctionProblem)


def members(capability: type) -> dict[str, object]:
    """What a capability offers, by name."""
    return {
        name: member
        for name, member in vars(capability).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


def offers(problem: type, name: str, member: object) -> bool:
    """Whether a backend has a member of its own."""
    return inspect.getattr_static(problem, name) is not member


def completeness() -> str:
    """A row for each member of each capability: what it is, and which backend has its own."""
    lines = [_heads("| | |"), "|---|---|" + "---|" * len(BACKENDS)]
    for capability in CAPABILITIES:
        lines.append(f"| **{capability.__name__}** | {inspect.getdoc(capability)} |" + " |" * len(BACKENDS))
        for name, member in members(capability).items():
            said = " ".join((inspect.getdoc(member) or "").split("\n\n")[0].split())
            offered = ["yes" if offers(problem, name, member) else "" for problem in BACKENDS]
            lines.append(f"| `{name}` | {said} | " + " | ".join(offered) + " |")
    return "\n".join(lines)


def summary() -> str:
    """A row for each capability: how much of it each backend offers. The README has it too."""
    lines = [_heads("| |"), "|---|" + "---|" * len(BACKENDS)]
    for capability in CAPABILITIES:
        every = members(capability)
        counts = [sum(offers(problem, name, member) for name, member in every.items()) for problem in BACKENDS]
        lines.append(f"| {capability.__name__} | " + " | ".join(f"{n} of {len(every)}" for n in counts) + " |")
    return "\n".join(lines)


def _heads(first: str) -> str:
    return f"{first} " + " | ".join(problem.__name__ for problem in BACKENDS) + " |"


def index() -> str:
    lines = ["# Rules", "", "Every finding belongs to a rule. `wellposed explain WP201` shows the same in a terminal."]
    for name, subject in SUBJECTS.items():
        lines += ["", f"## {subject}", "", "| rule | | claim |", "|---|---|---|"]
        lines += [f"| [{r.id}]({r.id}.md) | {r.title} | {r.claim} |" for r in CATALOGUE.values() if r.subject == name]
    return "\n".join(lines)


def rule_page(rule: Rule) -> str:
    lines = [f"# {rule.id}: {rule.title}", "", rule.claim, "", "## How it is judged", "", plain(rule.judged)]
    if rule.causes:
        lines += ["", "## Causes"]
    for cause in rule.causes:
        lines += ["", f"### {cause.slug}", "", plain(cause.means)]
        lines += ["", f"To confirm: {plain(cause.confirm)}"] if cause.confirm else []
        for remedy in cause.remedies:
            lines += ["", f"Remedy: {remedy.title}.", *fenced(remedy.code)]
    if rule.remedies:
        lines += ["", "## Remedies"]
    for remedy in rule.remedies:
        lines += ["", f"{remedy.title}.", *fenced(remedy.code)]
    if rule.references:
        lines += ["", "## References", "", *(f"- {reference}" for reference in rule.references)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Prose with code in it, of which no bracket is to be taken for a link."""
    return text.replace("[", "\\[")


def fenced(code: str, language: str = "python") -> list[str]:
    return ["", f"```{language}", code, "```"] if code else []


def chapter_page(number: int, chapter: Chapter) -> str:
    lines = [
        f"# {number}. {chapter.title}",
        "",
        f"`wellposed tour {number}` shows this in a terminal; every number is computed anew.",
    ]
    for part in chapter.parts:
        lines += ["", *chapter_part(part)]
    return "\n".join(lines)


def chapter_part(part: Part) -> list[str]:
    if isinstance(part, str):
        return [part]
    if isinstance(part, Code):
        return fenced(part.lines)[1:]
    if isinstance(part, Table):
        return [
            f"| {' | '.join(part.head)} |",
            f"|{'---|' * len(part.head)}",
            *(f"| {' | '.join(row)} |" for row in part.rows),
        ]
    if isinstance(part, Report):
        return fenced(str(part), "text")[1:]
    assert isinstance(part, Figure)
    return ["<figure>", plots.svg(part), f"<figcaption>{part.text}</figcaption>", "</figure>"]


if __name__ == "__main__":
    main()
