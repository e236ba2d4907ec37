"""A record that can show itself: what the verbs of the library return."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from wellposed.errors import CheckFailed
from wellposed.findings import Finding, PlaceOf, Record
from wellposed.report import json, junit, sarif, text
from wellposed.writing import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


class Report(Record):
    """What a check found. True when `ok`, so `assert wp.check_gradients(problem)` reads as it should.

    `str(report)` is the text report, plain and 80 columns wide.
    """

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return text.plain(self)

    def verbose(self) -> str:
        """The text report with what holds and what does not apply."""
        return text.plain(self, verbose=True)

    def to_json(self, place_of: PlaceOf | None = None) -> str:
        """The report as JSON, schema 1 (`wellposed/report/schema.json`); with `place_of` each finding says at which
        line of which file it, and what is to be done, is."""
        return json.dumps(self, place_of)

    def to_html(self, path: str | os.PathLike[str], place_of: PlaceOf | None = None) -> None:
        """Write the report as one HTML file that needs no other, whole or not; `place_of` as for `to_json`. Raises
        `InputError` where it cannot be written.
        """
        from wellposed.report import html  # its template engine takes longer to import than a check may last

        write_whole(path, html.page(self, place_of))

    def plot(self) -> list[Drawing]:
        """One matplotlib figure for each of `figures`, which a notebook shows; `savefig` writes it. Empty where nothing
        was measured that a figure shows."""
        from wellposed.report import plots

        return [plots.draw(figure) for figure in self.figures]

    def _repr_html_(self) -> str:
        from wellposed.report import html

        return html.fragment(self)

    def to_sarif(self, file: str, line_of: Callable[[Finding], int]) -> str:
        """What was found as SARIF 2.1.0, at lines of `file`; what holds is left out."""
        return sarif.dumps(self, file, line_of)

    def to_junit(self, file: str) -> str:
        """The findings as JUnit XML, test cases of `file`."""
        return junit.dumps(self, file)

    def raise_if_failed(self) -> None:
        """Raise `CheckFailed` with the report as its message if anything fails."""
        if not self.ok:
            raise CheckFailed(str(self))
