"""A record as JSON, schema 1. NaN and infinity, which JSON lacks, become the strings "nan", "inf" and "-inf"."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from math import isfinite
from typing import Any

from wellposed.figures import Figure, Panel, Series
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
            "dtype": problem.dtype, "loss": _number(problem.loss), "checked_in": problem.checked_in,
            "coarse": problem.coarse, "later": problem.later,
        },
        "ok": record.ok,
        "evaluations": record.evaluations,
        "seconds": round(record.seconds, 3),
        "findings": [_finding(finding) for finding in record.findings],
        "figures": [_figure(figure) for figure in record.figures],
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule, "where": finding.where, "verdict": finding.verdict.value, "cause": finding.cause,
        "message": finding.message, "follows": finding.follows, "places": list(finding.places),
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


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name, "title": figure.title, "text": figure.text, "rules": list(figure.rules),
        "panels": [
            {
                "title": panel.title, "x_label": panel.x_label, "y_label": panel.y_label, "log_x": panel.log_x,
                "log_y": panel.log_y, "names": list(panel.names),
                "series": [
                    {
                        "label": series.label, "mark": series.mark,
                        "x": _numbers(series.x), "y": _numbers(series.y), "error": _numbers(series.error),
                    }
                    for series in panel.series
                ],
            }
            for panel in figure.panels
        ],
    }  # fmt: skip


def _numbers(values: Iterable[float]) -> list[float | str | None]:
    return [_number(value) for value in values]


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
    figures = tuple(_read_figure(entry) for entry in given.get("figures", []))
    return Record(Summary(**problem), findings, given["evaluations"], given["seconds"], figures)


def _read_finding(given: dict[str, Any]) -> Finding:
    evidence = tuple(
        Evidence(**{**entry, "value": _read(entry["value"]), "error": _read(entry["error"])})
        for entry in given["evidence"]
    )
    remedies = tuple(
        Remedy(**{**entry, "before": _read(entry["before"]), "after": _read(entry["after"])})
        for entry in given["remedies"]
    )
    places = tuple(given.get("places", ()))
    return Finding(
        **{**given, "verdict": Verdict(given["verdict"]), "evidence": evidence, "remedies": remedies, "places": places}
    )


def _read_figure(given: dict[str, Any]) -> Figure:
    panels = []
    for panel in given["panels"]:
        series = tuple(
            Series(one["label"], mark=one["mark"], **{key: tuple(map(_read, one[key])) for key in ("x", "y", "error")})
            for one in panel["series"]
        )
        panels.append(Panel(**{**panel, "series": series, "names": tuple(panel["names"])}))
    return Figure(given["name"], given["title"], given["text"], tuple(panels), tuple(given["rules"]))


def _read(number: Any) -> Any:
    return float(number) if isinstance(number, str) else number
