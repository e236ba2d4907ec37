"""The command line: from words to an exit status."""

from __future__ import annotations

import sys
import traceback

from cyclopts import CycloptsError

from wellposed.commands import check, rules, run, statistics  # noqa: F401 - each registers its commands
from wellposed.commands.app import HOLDS, INTERRUPTED, app
from wellposed.commands.run import parted, scripts_own
from wellposed.errors import InputError, Interrupted
from wellposed.report.text import render
from wellposed.terminal import complain, show, tells

_COMMANDS = ("check", "run", "stats", "audit", "explain", "tour", "completion")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    words, scripts_own[:] = parted(words)
    try:
        status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        command = f"{words[0]} " if words and words[0] in _COMMANDS else ""
        return complain(
            InputError(
                str(error),
                hint=f"wellposed {command}--help",
            )
        )
    except InputError as error:
        if "--traceback" in words:
            traceback.print_exception(error)
        return complain(error)
    except Interrupted as stopped:
        if tells():
            show(render(stopped.report))
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: say nothing
        return HOLDS
    except OSError as error:  # a full disk behind standard output
        return complain(InputError(f"the report cannot be printed: {error.strerror or error}"))
    return status if isinstance(status, int) else HOLDS
