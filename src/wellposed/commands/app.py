"""The program and what its commands share: options, which rules are wanted, how a report is told."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from wellposed.catalogue import CATALOGUE, names_a_rule
from wellposed.errors import InputError
from wellposed.findings import Finding, PlaceOf, Verdict
from wellposed.printable import harmless
from wellposed.report import Report
from wellposed.report.text import render
from wellposed.settings import Settings
from wellposed.terminal import show

app = App(
    name="wellposed",
    help="Is this training problem well posed? Inputs, signals, weights, gradients.",
    help_epilogue="Exit status: 0 nothing fails, 1 something fails, 2 the call or the file is at fault.",
    suppress_keyboard_interrupt=False,  # a check that is interrupted has something to show
)

HOLDS, FAILS, INTERRUPTED = 0, 1, 130
Json = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="Write the report as JSON to this file, or to standard output for -")
]
Rules = Annotated[str, Parameter(help="Rules or their beginnings, separated by commas: WP2,WP501")]
Html = Annotated[str, Parameter(help="Write the report as one HTML file")]
Sarif = Annotated[str, Parameter(help="Write what was found as SARIF to this file, for code hosts")]
Junit = Annotated[str, Parameter(help="Write what was found as JUnit XML to this file, for CI")]
Out = Annotated[str, Parameter(help="Write every report into this folder, in all of these forms and as text")]
Budget = Annotated[
    float | None, Parameter(help="Seconds that a check-up may take; what is not judged then is undecided")
]
Lines = Annotated[bool, Parameter(help="Print a line for each finding, FILE:LINE first", negative="")]
Verbose = Annotated[bool, Parameter(help="Show all that was measured, and what holds", negative="")]
Remedies = Annotated[bool, Parameter(help="Try the remedies on a copy, and show what they change", negative="")]
Full = Annotated[
    bool, Parameter(help="Look as closely as can be, again after 20 steps, and try the remedies", negative="")
]


def told(
    report: Report,
    json: str,
    place_of: PlaceOf | None = None,
    *,
    verbose: bool = False,
    lines: bool = False,
) -> int:
    """Print the report, as JSON where that goes to standard output, with `lines` a line for each finding; the exit
    status.
    """
    if json == "-":
        print(report.to_json(place_of))
    elif lines and place_of is not None:
        for finding in report.findings:
            if finding.found or finding.verdict is Verdict.UNDECIDED:
                print(_line(finding, *place_of(finding)))
    else:
        show(render(report, verbose=verbose, place_of=place_of))
    return HOLDS if report.ok else FAILS


def _line(finding: Finding, file: str, line: int) -> str:
    """As compilers print them, for editors."""
    severity = {Verdict.FAILS: "error", Verdict.SUSPECT: "warning"}.get(finding.verdict, "info")
    where = f" at {finding.where}" if finding.where else ""
    return harmless(f"{file}:{line}: {severity}: {finding.rule}{where}: {' '.join(finding.message.split())}")


class Filter:
    """Which rules are wanted."""

    def __init__(self, select: tuple[str, ...], ignore: tuple[str, ...]) -> None:
        self._select, self._ignore = select, ignore

    def __call__(self, rule: str) -> bool:
        return (not self._select or rule.startswith(self._select)) and not (
            self._ignore and rule.startswith(self._ignore)
        )


def seconds_of(budget: float | None, settled: Settings) -> float:
    """What a check-up may take: as `--budget` says, else the project's settings. Raises `InputError`."""
    if budget is None:
        return settled.budget
    if not budget > 0:  # NaN is none either
        raise InputError(f"--budget {budget:g} is no number of seconds above 0", hint="--budget 120")
    return budget


def chosen(select: str, ignore: str) -> Filter:
    lists = []
    for option, given in (("--select", select), ("--ignore", ignore)):
        names = tuple(name.strip().upper() for name in given.split(",") if name.strip())
        for name in names:
            if not names_a_rule(name):
                raise InputError(f"{option} {name} matches no rule", hint=f"known: {', '.join(CATALOGUE)}")
        lists.append(names)
    wanted = Filter(*lists)
    if not any(map(wanted, CATALOGUE)):
        raise InputError("--select and --ignore together leave no rule")
    return wanted
