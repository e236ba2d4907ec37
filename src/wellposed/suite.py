"""Checks within a test suite: what the fixture `wellposed` gives a test, and what is said of them all at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from wellposed import api, comparing, resuming, watching
from wellposed.catalogue import names_a_rule
from wellposed.errors import InputError
from wellposed.findings import GRAVITY, Finding, Verdict
from wellposed.printable import harmless
from wellposed.report import Report
from wellposed.report.json import loads as record_of
from wellposed.writing import write_whole

_VERBS = (
    "checkup", "check_inputs", "check_objective", "check_signals", "check_weights", "check_gradients",
    "check_accumulation", "check_paths", "check_ranks", "check_resume", "gradcheck", "check_grads", "watch",
)  # fmt: skip
_HOMES = {"check_paths": comparing, "check_resume": resuming, "watch": watching}  # of the verbs that are not the api's
_PROPERTY, _REPORT = "wellposed", "wellposed report"
_OPTIONS = {"strict", "ignore"}


def checks_for(request: pytest.FixtureRequest) -> Checks:
    """As the marker of the test, of its class and of its module ask for, the nearest last. Fails the test for what it
    does not know.
    """
    strict, ignore = False, tuple[str, ...]()
    for mark in reversed(list(request.node.iter_markers("wellposed"))):
        unknown = mark.kwargs.keys() - _OPTIONS
        if unknown or mark.args:
            said = f"the marker wellposed knows strict= and ignore=, not {sorted(unknown) or mark.args}"
            pytest.fail(said, pytrace=False)
        strict, ignore = mark.kwargs.get("strict", strict), _rules(mark.kwargs.get("ignore", ignore))
    kept = bool(request.config.getoption("--wellposed-html"))
    return Checks(request.node.user_properties, strict=strict, ignore=ignore, kept=kept)


def _rules(given: str | Sequence[str]) -> tuple[str, ...]:
    """Rules or their beginnings, as a list or separated by commas. Fails the test for what is none."""
    names = tuple(one.strip().upper() for one in (given.split(",") if isinstance(given, str) else given))
    unknown = [name for name in names if not names_a_rule(name)]
    if unknown:
        pytest.fail(f"the marker wellposed ignores {unknown[0]!r}, which matches no rule", pytrace=False)
    return names


class Checks:
    """`wellposed.check_gradients(problem)` and the other verbs, in a test."""

    def __init__(
        self, properties: list[tuple[str, object]], *, strict: bool, ignore: tuple[str, ...], kept: bool = False
    ) -> None:
        """`kept`: whether the whole report goes with the test's properties, for the HTML file."""
        self._properties, self._strict, self._ignore, self._kept = properties, strict, ignore, kept

    def __getattr__(self, name: str) -> Callable[..., Report]:
        if name not in _VERBS:
            raise AttributeError(f"the fixture wellposed has no {name!r}; it has {', '.join(_VERBS)}")

        def checked(*args: Any, **kwargs: Any) -> Report:
            report: Report = getattr(_HOMES.get(name, api), name)(*args, **kwargs)
            failing = [finding for finding in report.findings if self._fails(finding)]
            self._properties.append(
                (
                    _PROPERTY,
                    json.dumps([name, [_said(finding) for finding in report.findings if not self._ignored(finding)]]),
                )
            )
            if self._kept:
                self._properties.append((_REPORT, json.dumps([name, report.to_json()])))
            if failing:
                bar = " (suspect fails here)" if self._strict else ""
                first = failing[0]
                where = f" at {harmless(first.where)}" if first.where else ""
                said = f"{first.verdict.value} {first.rule} {first.title}{where}"
                pytest.fail(f"wellposed.{name}{bar}: {said}\n{report}", pytrace=False)
            return report

        return checked

    def _fails(self, finding: Finding) -> bool:
        grave = (Verdict.FAILS, Verdict.SUSPECT) if self._strict else (Verdict.FAILS,)
        return finding.verdict in grave and not self._ignored(finding)

    def _ignored(self, finding: Finding) -> bool:
        return bool(self._ignore) and finding.rule.startswith(self._ignore)


def _said(finding: Finding) -> list[str]:
    return [finding.rule, finding.verdict.value, finding.title, finding.where]


def sum_up(terminalreporter: Any) -> None:
    """One line for the run, and one for each finding that is not sound; under xdist too, as test reports carry their
    properties.
    """
    checks = list(_kept(terminalreporter, _PROPERTY))
    counts = dict.fromkeys((verdict.value for verdict in GRAVITY), 0)
    for _test, _verb, findings in checks:
        for _rule, verdict, *_ in findings:
            counts[verdict] += 1
    terminalreporter.section("wellposed")
    _write(terminalreporter)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
    tests = len({test for test, *_ in checks})
    head = f"{len(checks)} check{'s' * (len(checks) != 1)} in {tests} test{'s' * (tests != 1)}"
    terminalreporter.write_line(f"{head}: {told}")
    for test, verb, findings in checks:
        for rule, verdict, title, where in findings:
            if verdict in (Verdict.FAILS.value, Verdict.SUSPECT.value):
                terminalreporter.write_line(
                    f"{verdict:<8} {rule} {title}{f' at {harmless(where)}' if where else ''}  {test} ({verb})"
                )


def _write(terminalreporter: Any) -> None:
    file = terminalreporter.config.getoption("--wellposed-html")
    if file:
        from wellposed.report import html  # its template engine is slow to import

        records = [(f"{test}: {verb}", record_of(text)) for test, verb, text in _kept(terminalreporter, _REPORT)]
        try:
            write_whole(file, html.pages(records), read=_test_files(terminalreporter))
        except InputError as error:
            terminalreporter.write_line(f"wellposed: {error}", red=True)
        else:
            terminalreporter.write_line(f"reports written to {file}")


def _test_files(terminalreporter: Any) -> set[str]:
    """The files whose tests ran, which no report may overwrite."""
    root = terminalreporter.config.rootpath
    return {str(root / test.partition("::")[0]) for test, _, _ in _kept(terminalreporter, _PROPERTY)}


def _kept(terminalreporter: Any, name: str) -> Iterator[tuple[str, str, Any]]:
    """(test, verb, what was kept) of every check; they come with the tests' reports."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "call":
                continue
            for key, value in report.user_properties:
                if key == name:
                    verb, kept = json.loads(value)
                    yield report.nodeid, verb, kept
