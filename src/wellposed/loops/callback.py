"""The first steps of training, watched from within a framework's callbacks; training goes on whatever comes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from wellposed.api import checkup
from wellposed.backends.protocol import Problem
from wellposed.errors import CheckFailed, InputError
from wellposed.report import Report
from wellposed.watching import Watching


class Reporting:
    """What every framework's callback has. It goes before the framework's own class.

    The first steps are watched as by `wp.watch(**options)`, once, and the report is printed on standard error. With
    `fail` a loss in which something fails raises `CheckFailed` before weights have moved, and a step that fails raises
    it at the end of what is watched. `report` is None before, and where nothing could be checked (which a warning then
    says).
    """

    def __init__(self, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        super().__init__()
        self._fail, self._show = fail, show
        self._options = options
        self._watching: Watching | None = None
        self._began = False
        self.report: Report | None = None

    def _begin(self, *, first: bool = True) -> None:
        """Training begins. `first`: whether this process is the one that tells."""
        for other in list(_WATCHING):  # of a training that raised, and whose framework did not say so
            other._leave()
        self._show &= first
        if not self._began:
            self._began = True
            self._watching = Watching(fail=self._fail, **self._options).__enter__()
            _WATCHING.append(self)

    def _stepped(self) -> None:
        if self._watching is not None and self._watching.finished:
            self._end()

    def _end(self) -> None:
        """Training has ended, or enough of it was seen."""
        if self._watching is None:
            return
        report = self._leave()
        if report is None:
            warnings.warn("wellposed saw no step of this training", stacklevel=3)
            return
        self._tell(report)

    def _leave(self) -> Report | None:
        watching, self._watching = self._watching, None
        if watching is None:
            return None
        _WATCHING.remove(self)
        watching.__exit__(None, None, None)
        return watching.report

    def _raised(self, error: BaseException) -> None:
        """Training ends with an error, which may be our own."""
        report = self._leave()
        if isinstance(error, CheckFailed):
            self.report = report

    def _tell(self, report: Report) -> None:
        self.report = report
        if self._show:
            print(report, file=sys.stderr)
        if self._fail:
            report.raise_if_failed()

    def _check(self, problem: Callable[[], Problem]) -> None:
        """In place of watching, where a framework's step cannot be watched."""
        self._began = True
        try:
            report = checkup(problem(), **self._options)
        except Exception as error:  # the user's code, run in a way that it may not be made for: training must go on
            said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"wellposed could not check this training: {said}", stacklevel=3)
        else:
            self._tell(report)


_WATCHING: list[Reporting] = []  # one at most
