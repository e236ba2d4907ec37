"""One check-up, whatever comes: training goes on where the check-up cannot run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from wellposed.api import checkup
from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
from wellposed.report import Report


class Once:
    """Runs `wp.checkup(problem, **options)` at the first call, prints the report on standard error, and does nothing
    ever after.

    With `fail` a report in which something fails raises `CheckFailed`, and training does not begin. `report` is None
    before, and where the check-up could not run (which a warning then says).
    """

    def __init__(self, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        self.fail, self.show, self.options = fail, show, options
        self.report: Report | None = None
        self.done = False

    def __call__(self, problem: Callable[[], Problem]) -> None:
        if self.done:
            return
        self.done = True
        try:
            self.report = checkup(problem(), **self.options)
        except Exception as error:  # the user's code, run in a way that it may not be made for: training must go on
            said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"wellposed could not check this training: {said}", stacklevel=3)
            return
        if self.show:
            print(self.report, file=sys.stderr)
        if self.fail:
            self.report.raise_if_failed()


class Reporting:
    """What every framework's callback has: the options of a check-up, and its report. It goes before the framework's
    own class.
    """

    def __init__(self, *, fail: bool = False, show: bool = True, **options: Any) -> None:
        super().__init__()
        self._once = Once(fail=fail, show=show, **options)

    @property
    def report(self) -> Report | None:
        return self._once.report
