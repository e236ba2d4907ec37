"""`wellposed check`: the problem that a file defines."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wellposed import api
from wellposed.backends.protocol import Problem
from wellposed.commands.app import HOLDS, Json, Rules, app, chosen, told
from wellposed.errors import InputError, UserCodeRaised
from wellposed.findings import Finding
from wellposed.loading import load_problem, split
from wellposed.places import line_of
from wellposed.report import Report
from wellposed.settings import comments_in, settings_of, without_ignored
from wellposed.terminal import progress, tells
from wellposed.writing import refuse_inputs, write_whole


@app.command
def check(
    file: Annotated[
        str,
        Parameter(
            help="FILE or FILE:NAME; a Python file that defines `problem`; left out: the files of [tool.wellposed] in"
            " pyproject.toml"
        ),
    ] = "",
    /,
    *,
    select: Rules = "",
    ignore: Rules = "",
    json: Json = "",
    after_steps: Annotated[
        int, Parameter(help="Check signals and gradient again after this many optimizer steps, on a copy")
    ] = 0,
    html: Annotated[str, Parameter(help="Write the report as one HTML file")] = "",
    sarif: Annotated[str, Parameter(help="Write what was found as SARIF to this file, for code hosts")] = "",
    junit: Annotated[str, Parameter(help="Write what was found as JUnit XML to this file, for CI")] = "",
    budget: Annotated[
        float, Parameter(help="Seconds that the check of a file may take; what is not judged then is undecided")
    ] = 0.0,
    remedies: Annotated[
        bool, Parameter(help="Try the remedies on a copy, and show what they change", negative="")
    ] = False,
    full: Annotated[
        bool, Parameter(help="Look as closely as can be, again after 20 steps, and try the remedies", negative="")
    ] = False,
    verbose: Annotated[bool, Parameter(help="List what holds and what does not apply too", negative="")] = False,
    traceback: Annotated[bool, Parameter(help="Show the call stack of an error", negative="")] = False,
) -> int:
    """Check the training problem that FILE defines; print the report."""
    settled = settings_of(Path(split(file)[0]).absolute().parent if file else Path.cwd())
    rules = chosen(select or ",".join(settled.select), ignore)
    files = [file] if file else list(settled.files)
    outputs = [output for output in (html, json, sarif, junit) if output]
    if not files:
        raise InputError(
            "check needs a file",
            hint='wellposed check FILE, or files = ["FILE"] under [tool.wellposed] in pyproject.toml',
        )
    if len(files) > 1 and outputs:
        raise InputError(f"{outputs[0]} is one file, for a report of {len(files)}", hint="name the file to check")
    refuse_inputs([output for output in outputs if output != "-"], [split(one)[0] for one in files])
    statuses = [HOLDS]
    for one in files:
        path, name = split(one)
        with redirect_stdout(sys.stderr):  # what the user's file prints must not mix with the report
            ignored = (*settled.ignored, *comments_in(path))
            problem = load_problem(one)
            wanted: dict[str, Any] = {"after_steps": after_steps, "remedies": remedies, "full": full}
            report = _checked(problem, one, only=rules, seconds=budget or settled.budget, **wanted)
        if not tells():  # torchrun ends all processes as soon as one has another status than 0
            continue
        place = partial(_line_in, path, name)
        report = replace(report, findings=without_ignored(report.findings, ignored, place))
        if html:
            report.to_html(html)
        if sarif:
            write_whole(sarif, report.to_sarif(path.as_posix(), place) + "\n")
        if junit:
            write_whole(junit, report.to_junit(path.as_posix()) + "\n")
        if len(files) > 1:
            print(f"{one}:")
        at = lambda finding, path=path, place=place: (path.as_posix(), place(finding))  # noqa: E731
        statuses.append(told(report, json, at, verbose=verbose))
    return max(statuses)


def _line_in(path: Path, name: str, finding: Finding) -> int:
    return line_of(path, finding.where, name)


def _checked(problem: Problem, file: str, **wanted: Any) -> Report:
    try:
        with progress() as shown:
            return api.checkup(problem, progress=shown, **wanted)
    except UserCodeRaised as error:
        raise InputError(
            f"{file} raised while it was being checked: {error.said}",
            hint="does the loss run by itself? --traceback shows the whole call stack",
        ) from error
    except InputError:
        raise
    except Exception as error:  # of the user's code, where a remedy is tried
        said = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{file} raised while it was being checked: {said}", hint="--traceback shows the whole call stack"
        ) from error
