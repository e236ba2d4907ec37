"""What a case of the corpus is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """`build(fault)` gives a problem; with the empty fault it is healthy.

    `wrong` are the tensors whose gradient is wrong (a set of sets, where the bug lies in a part that is named by itself), `cause` the
    cause that a report must give, `source` where such a bug was met.
    """

    framework: str
    fault: str
    build: Callable[[str, int], Any]
    wrong: frozenset[str]
    cause: str
    source: str

    @property
    def name(self) -> str:
        return f"{self.framework}: {self.build.__name__.strip('_')}, {self.fault}"


def cases(framework: str, build: Callable[[str, int], Any], table: str) -> list[Case]:
    """One case per line: fault | wrong tensors | cause | source."""
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [
        Case(framework, fault, build, frozenset(wrong.split()), cause, source) for fault, wrong, cause, source in rows
    ]
