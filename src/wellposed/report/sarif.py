"""A record as SARIF 2.1.0, which code hosts show at the lines of a file (OASIS 2020)."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from wellposed.findings import Finding, Record, Verdict

_LEVELS = {Verdict.FAILS: "error", Verdict.SUSPECT: "warning", Verdict.UNDECIDED: "note"}


def dumps(record: Record, file: str, line_of: Callable[[Finding], int]) -> str:
    """`file` as the code host names it; what holds is left out."""
    told = [finding for finding in record.findings if finding.verdict in _LEVELS]
    rules = {finding.rule: finding.title for finding in record.findings}
    driver = {
        "name": "wellposed",
        "version": version("wellposed"),
        "rules": [{"id": rule, "shortDescription": {"text": title}} for rule, title in rules.items()],
    }
    run = {"tool": {"driver": driver}, "results": [_result(finding, file, line_of(finding)) for finding in told]}
    return json.dumps(
        {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}, indent=2
    )


def _result(finding: Finding, file: str, line: int) -> dict[str, Any]:
    remedies = "".join(f" Remedy: {remedy.title}." for remedy in finding.remedies[:1])
    where = f"{finding.where}: " if finding.where else ""
    return {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.verdict],
        "message": {"text": f"{where}{finding.message}{remedies}"},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": quote(file, safe="/")}, "region": {"startLine": line}}}
        ],
        "properties": {"where": finding.where, "cause": finding.cause, "follows": finding.follows},
    }
