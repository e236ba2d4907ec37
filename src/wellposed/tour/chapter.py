"""What a chapter is: paragraphs, code, tables, figures and reports, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from wellposed.figures import Figure
from wellposed.report import Report


@dataclass(frozen=True)
class Code:
    """Lines that a reader may paste."""

    lines: str


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = str | Code | Table | Figure | Report


@dataclass(frozen=True)
class Chapter:
    """One of them, run: every number in it was computed when the chapter was made."""

    title: str
    parts: tuple[Part, ...]
