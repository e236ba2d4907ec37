"""What a caller did wrong, in one message: what, where, and a hint."""

from __future__ import annotations

from typing import Any


class WellposedError(Exception):
    """The base of every error that wellposed raises on purpose."""


class InputError(WellposedError, ValueError):
    """The caller's objects do not fit: the message names them as the caller does.

    >>> str(InputError("gradient() gave no entry for 'b1'", hint="return one array per parameter"))
    "gradient() gave no entry for 'b1'\\n\\nHint: return one array per parameter"
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n\nHint: {hint}" if hint else message)


class UserCodeRaised(InputError):
    """The model, the loss or its backward pass raised; `said` is the error as its traceback ends, with the line of the
    user's code, and `called` how these were called.
    """

    @staticmethod
    def of(error: Exception, line: str = "", called: str = "") -> UserCodeRaised:
        """One that is an error of the same kind too, so that who waits for that still catches it."""
        try:
            joined = type("UserCodeRaised", (UserCodeRaised, type(error)), {})
            return joined(error, line, called)  # type: ignore[no-any-return]
        except TypeError:  # a class that cannot be joined with ours, or needs more to be made
            return UserCodeRaised(error, line, called)

    def __init__(self, error: Exception, line: str = "", called: str = "") -> None:
        self.said = f"{type(error).__name__}: {error}" + (f", at {line}" if line else "")
        self.called = called
        asked = "does it run by itself, forwards and backwards? The traceback above shows where"
        super().__init__(f"the loss raises {self.said}", hint=f"{called}. {asked}" if called else asked)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a check; `report` is what was found by then, and the message shows it."""

    def __init__(self, report: Any) -> None:
        self.report = report
        super().__init__(f"the check was interrupted; found by then:\n\n{report}")


class CheckFailed(WellposedError, AssertionError):
    """Raised by `Report.raise_if_failed()`: its message is the report."""
