"""A record as SARIF 2.1.0, which code hosts show at the lines of a file (OASIS 2020)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from wellposed.findings import Finding, Record, Verdict
from wellposed.report.site import page_of

_LEVELS = {Verdict.FAILS: "error", Verdict.SUSPECT: "warning", Verdict.UNDECIDED: "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def dumps(record: Record, file: str, line_of: Callable[[Finding], int]) -> str:
    """`file` as the code host names it; what holds is left out."""
    told = [finding for finding in record.findings if finding.verdict in _LEVELS]
    rules = {finding.rule: finding.title for finding in record.findings}
    driver = {
        "name": "wellposed",
        "version": version("wellposed"),
        "rules": [
            {"id": rule, "name": rule, "shortDescription": {"text": title}} | _link("helpUri", page_of(rule))
            for rule, title in rules.items()
        ],
    } | _link("informationUri", page_of())
    results = [_result(finding, told, file, line_of, list(rules)) for finding in told]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(
    finding: Finding, told: list[Finding], file: str, line_of: Callable[[Finding], int], rules: list[str]
) -> dict[str, Any]:
    """What follows from it is related; its fingerprint says nothing of numbers, which are others at each run."""
    remedies = "".join(f" Remedy: {remedy.title}." for remedy in finding.remedies[:1])
    where = f"{finding.where}: " if finding.where else ""
    hence = [one for one in told if one.follows == finding.rule and one is not finding]
    print_ = hashlib.sha256("\n".join((finding.rule, file, finding.where, finding.cause)).encode()).hexdigest()
    found = {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": _LEVELS[finding.verdict],
        "message": {"text": f"{where}{finding.message}{remedies}"},
        "locations": [_location(file, line_of(finding)) | _named(finding.where)],
        "partialFingerprints": {"wellposed/v1": print_},
        "properties": {"where": finding.where, "cause": finding.cause, "follows": finding.follows},
    }
    if hence:
        found["relatedLocations"] = [
            {"id": number, "message": {"text": f"Hence {one.rule} {one.title}."}} | _location(file, line_of(one))
            for number, one in enumerate(hence, 1)
        ]
    return found


def _link(key: str, address: str) -> dict[str, str]:
    return {key: address} if address else {}


def _location(file: str, line: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": quote(file, safe="/")}, "region": {"startLine": line}}}


def _named(where: str) -> dict[str, Any]:
    return {"logicalLocations": [{"fullyQualifiedName": where}]} if where else {}
