"""A record as JSON, schema 1, and back. NaN and infinity, which JSON lacks, become strings: "nan", "inf", "-inf"."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import version
from math import isfinite
from typing import Any

from wellposed.findings import SCHEMA, PlaceOf, Record


def dumps(record: Record, place_of: PlaceOf | None = None) -> str:
    """`place_of` says what place in the user's file a finding is about and remedies go to; else that is left out."""
    return json.dumps(as_dict(record, place_of), indent=2, allow_nan=False)


def as_dict(record: Record, place_of: PlaceOf | None = None) -> dict[str, Any]:
    made: dict[str, Any] = _converter().unstructure(record)
    findings = made["findings"]
    if place_of is not None:
        for finding, told in zip(record.findings, findings, strict=True):
            told["file"], told["line"] = place_of(finding)
    head = {"schema": SCHEMA, "wellposed": version("wellposed"), "problem": made["problem"], "ok": record.ok}
    return head | made | {"seconds": round(record.seconds, 3)}


def loads(text: str) -> Record:
    """The record that `dumps` wrote."""
    read: Record = _converter().structure(json.loads(text), Record)
    return read


@cache
def _converter() -> Any:
    """Dataclasses field by field, by their annotations; what it does not know, as a finding's file, is passed over."""
    from cattrs import Converter  # which takes longer to import than a check may last

    made = Converter()
    made.register_unstructure_hook(float, lambda value: float(value) if isfinite(value) else str(float(value)))
    made.register_structure_hook(float, lambda value, _: float(value))
    return made
