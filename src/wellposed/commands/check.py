"""`wellposed check`: the problem that a file defines."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wellposed import api
from wellposed.backends.protocol import Problem
from wellposed.commands.app import (
    HOLDS,
    Budget,
    Full,
    Html,
    Json,
    Junit,
    Lines,
    Out,
    Remedies,
    Rules,
    Sarif,
    Verbose,
    app,
    chosen,
    seconds_of,
    told,
)
from wellposed.commands.written import in_folder, publish
from wellposed.errors import InputError, UserCodeRaised
from wellposed.loading import load_problem, split
from wellposed.places import place_in
from wellposed.report import Report
from wellposed.settings import comments_in, settings_of
from wellposed.terminal import complain, progress, tells
from wellposed.writing import refuse_inputs


@app.command
def check(
    *given: Annotated[
        str,
        Parameter(
            name="FILE",
            help="FILE or FILE:NAME; Python files that define `problem`; left out: the files of [tool.wellposed] in"
            " pyproject.toml",
        ),
    ],
    select: Rules = "",
    ignore: Rules = "",
    json: Json = "",
    after_steps: Annotated[
        int, Parameter(help="Check signals and gradient again after this many optimizer steps, on a copy")
    ] = 0,
    html: Html = "",
    sarif: Sarif = "",
    junit: Junit = "",
    out: Out = "",
    budget: Budget = None,
    remedies: Remedies = False,
    full: Full = False,
    lines: Lines = False,
    verbose: Verbose = False,
    traceback: Annotated[bool, Parameter(help="Show the call stack of an error", negative="")] = False,
) -> int:
    """Check the training problem that FILE defines; print the report."""
    settled = settings_of(Path(split(given[0])[0]).absolute().parent if given else Path.cwd())
    rules = chosen(select or ",".join(settled.select), ignore)  # those of the settings were looked at there
    files = list(given or settled.files)
    single = {"json": json, "html": html, "sarif": sarif, "junit": junit}
    _demand_files(files, [output for output in single.values() if output], "" if given else settled.source)
    seconds = seconds_of(budget, settled)
    wanted = {"only": rules, "after_steps": after_steps, "remedies": remedies, "full": full, "seconds": seconds}
    statuses = [HOLDS]
    for file in files:
        try:
            with redirect_stdout(sys.stderr):  # what the user's file prints must not mix with the report
                ignored = (*settled.ignored, *comments_in(split(file)[0]))
                report = _checked(load_problem(file), file, **wanted)
        except InputError as error:
            if len(files) == 1:
                raise
            statuses.append(complain(error))  # and the others are checked
            continue
        if not tells():  # torchrun ends all processes as soon as one has another status than 0
            continue
        place = partial(place_in, *split(file))
        report = publish(report, place, ignored, single, in_folder(out, file, files))
        if len(files) > 1 and not lines:
            print(f"{file}:")
        statuses.append(told(report, json, place, verbose=verbose, lines=lines))
    return max(statuses)


def _demand_files(files: list[str], outputs: list[str], source: str) -> None:
    """Before long work; `source` has named them where nobody has here. Raises `InputError`."""
    if not files:
        raise InputError(
            "check needs a file",
            hint='wellposed check FILE, or files = ["FILE"] under [tool.wellposed] in pyproject.toml',
        )
    gone = next((file for file in files if source and not split(file)[0].is_file()), "")
    if gone:
        raise InputError(f"{gone} does not exist", hint=f"{source} names it in files of [tool.wellposed]")
    if len(files) > 1 and outputs:
        raise InputError(
            f"{outputs[0]} is one file, for a report of {len(files)}", hint="name the file to check, or --out FOLDER"
        )
    refuse_inputs(outputs, [split(one)[0] for one in files])


def _checked(problem: Problem, file: str, **wanted: Any) -> Report:
    try:
        with progress() as shown:
            return api.checkup(problem, progress=shown, **wanted)
    except UserCodeRaised as error:
        asked = "Does the loss run by itself? --traceback shows the whole call stack"
        raise InputError(
            f"{file} raised while it was being checked: {error.said}",
            hint=f"{error.called}. {asked}" if error.called else asked,
        ) from error
    except InputError:
        raise
    except Exception as error:  # of the user's code, where a remedy is tried
        said = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{file} raised while it was being checked: {said}", hint="--traceback shows the whole call stack"
        ) from error
