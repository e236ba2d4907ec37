"""A record as JSON, schema 1. NaN and infinity, which JSON lacks, become the strings "nan", "inf" and "-inf"."""

from __future__ import annotations

import json
from importlib.metadata import version
from math import isfinite
from typing import Any

from wellposed.findings import SCHEMA, Evidence, Finding, Record, Remedy, Summary, Verdict


def dumps(record: Record) -> str:
    return json.dumps(as_dict(record), indent=2, allow_nan=False)


def as_dict(record: Record) -> dict[str, Any]:
    problem = record.problem
    return {
        "schema": SCHEMA,
        "wellposed": version("wellposed"),
        "problem": {
            "backend": problem.backend, "parameters": problem.parameters, "tensors": problem.tensors,
            "dtype": problem.dtype, "loss": _number(problem.loss),
        },
        "ok": record.ok,
        "evaluations": record.evaluations,
        "seconds": round(record.seconds, 3),
        "findings": [_finding(finding) for finding in record.findings],
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule, "where": finding.where, "verdict": finding.verdict.value, "cause": finding.cause,
        "message": finding.message, "follows": finding.follows,
        "evidence": [_evidence(entry) for entry in finding.evidence],
        "remedies": [_remedy(remedy) for remedy in finding.remedies],
    }  # fmt: skip


def _evidence(entry: Evidence) -> dict[str, Any]:
    return {
        "quantity": entry.quantity, "where": entry.where, "value": _number(entry.value), "unit": entry.unit,
        "reference": entry.reference, "error": _number(entry.error), "how": entry.how,
    }  # fmt: skip


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {
        "title": remedy.title, "code": remedy.code, "before": _number(remedy.before), "after": _number(remedy.after),
    }  # fmt: skip


def _number(value: float | None) -> float | str | None:
    if value is None:
        return None
    number = float(value)
    return number if isfinite(number) else str(number)


def loads(text: str) -> Record:
    """The record that `dumps` wrote; titles, which JSON leaves out, are empty."""
    given = json.loads(text)
    problem = {**given["problem"], "loss": _read(given["problem"]["loss"])}
    findings = tuple(_read_finding(entry) for entry in given["findings"])
    return Record(Summary(**problem), findings, given["evaluations"], given["seconds"])


def _read_finding(given: dict[str, Any]) -> Finding:
    evidence = tuple(Evidence(**{**entry, "value": _read(entry["value"]), "error": _read(entry["error"])}) for entry in given["evidence"])
    remedies = tuple(Remedy(**{**entry, "before": _read(entry["before"]), "after": _read(entry["after"])}) for entry in given["remedies"])
    return Finding(**{**given, "verdict": Verdict(given["verdict"]), "evidence": evidence, "remedies": remedies})


def _read(number: Any) -> Any:
    return float(number) if isinstance(number, str) else number
