"""The first steps of training, watched from within a framework's callbacks; training goes on whatever comes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from wellposed.api import checkup
from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
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
        self.report: Report | None = None

    def _begin(self, *, first: bool = True, during: str = "") -> None:
        """Training begins. `first`: whether this process is the one that tells; `during`: the function that trains, so
        that nothing is seen when it has ended, by whatever way.
        """
        for other in list(_WATCHING):  # of a training that raised, and whose framework did not say so
            other._leave()
        self._show &= first
        if self.report is None:
            inside = _still_in(during) if during else None
            self._watching = Watching(fail=self._fail, during=inside, **self._options).__enter__()
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
        if self._fail:
            report.raise_if_failed()

    def _raised(self) -> None:
        """Training ends with an error, which may be our own."""
        report = self._leave()
        if report is not None:
            self._tell(report)

    def _leave(self) -> Report | None:
        watching, self._watching = self._watching, None
        if watching is None:
            return None
        _WATCHING.remove(self)
        watching.__exit__(None, None, None)
        return watching.report

    def _tell(self, report: Report) -> None:
        self.report = report
        if self._show:
            print(report, file=sys.stderr)

    def _check(self, problem: Callable[[], Problem]) -> None:
        """In place of watching, where a framework's step cannot be watched."""
        if self.report is not None:
            return
        try:
            report = checkup(problem(), **self._options)
        except Exception as error:  # the user's code, run in a way that it may not be made for: training must go on
            said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"wellposed could not check this training: {said}", stacklevel=3)
        else:
            self._tell(report)
            if self._fail:
                report.raise_if_failed()


def _still_in(function: str) -> Callable[[], bool]:
    """Whether the innermost call of that name is still one of those that led here."""
    begun = _call_of(function)
    return lambda: begun is None or _call_of(function) == begun


def _call_of(function: str) -> tuple[int, Any] | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != function:
        frame = frame.f_back
    return None if frame is None else (id(frame), frame.f_code)


_WATCHING: list[Reporting] = []  # one at most
