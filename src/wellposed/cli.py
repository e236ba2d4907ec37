"""`wellposed check`, `stats`, `audit` and `explain`."""

from __future__ import annotations

import sys
import traceback
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Group
from rich.text import Text

from wellposed import api
from wellposed.backends.protocol import Problem
from wellposed.catalogue import CATALOGUE
from wellposed.errors import InputError, Interrupted, UserCodeRaised
from wellposed.explained import explained, listed_rules
from wellposed.findings import Finding
from wellposed.inputs.sources.files import files, paths_of
from wellposed.inputs.standardizer import Standardizer
from wellposed.inputs.statistics_table import statistics_table
from wellposed.loading import load_problem, split
from wellposed.places import line_of
from wellposed.report import Report
from wellposed.report.text import render
from wellposed.running import Ran, problem_file, run_script
from wellposed.settings import comments_in, settings_of, without_ignored
from wellposed.terminal import complain, progress, show, tells
from wellposed.watching import STEPS
from wellposed.writing import refuse_inputs, write_whole

app = App(
    name="wellposed",
    help="Is this training problem well posed? Inputs, signals, weights, gradients.",
    help_epilogue="Exit status: 0 nothing fails, 1 something fails, 2 the call or the file is at fault.",
    suppress_keyboard_interrupt=False,  # a check that is interrupted has something to show
)

_HOLDS, _FAILS, _INTERRUPTED = 0, 1, 130
_Json = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="Write the report as JSON to this file, or to standard output for -")
]
_Rules = Annotated[str, Parameter(help="Rules or their beginnings, separated by commas: WP2,WP501")]


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
    select: _Rules = "",
    ignore: _Rules = "",
    json: _Json = "",
    after_steps: Annotated[
        int, Parameter(help="Check signals and gradient again after this many optimizer steps, on a copy")
    ] = 0,
    html: Annotated[str, Parameter(help="Write the report as one HTML file")] = "",
    sarif: Annotated[str, Parameter(help="Write what was found as SARIF to this file, for code hosts")] = "",
    junit: Annotated[str, Parameter(help="Write what was found as JUnit XML to this file, for CI")] = "",
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
    rules = _chosen(select or ",".join(settled.select), ignore)
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
    statuses = [_HOLDS]
    for one in files:
        path, name = split(one)
        with redirect_stdout(sys.stderr):  # what the user's file prints must not mix with the report
            ignored = (*settled.ignored, *comments_in(path))
            problem = load_problem(one)
            report = _checked(problem, rules, one, after_steps, remedies=remedies, full=full)
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
        statuses.append(_told(report, json, verbose=verbose))
    return max(statuses)


def _line_in(path: Path, name: str, finding: Finding) -> int:
    return line_of(path, finding.where, name)


@app.command
def run(
    script: Annotated[
        str, Parameter(help="The training script, as `python train.py` runs it; its arguments follow it")
    ],
    /,
    *,
    module: Annotated[
        bool, Parameter(name=["-m"], help="SCRIPT is the name of a module, as for `python -m`", negative="")
    ] = False,
    step: Annotated[int, Parameter(help="Check the losses of this training step")] = 1,
    steps: Annotated[int, Parameter(help="Watch this many steps")] = STEPS,
    continue_: Annotated[
        bool, Parameter(name="--continue", help="Let the script go on to its end, as if nobody had looked", negative="")
    ] = False,
    timeout: Annotated[float, Parameter(help="End the script after so many seconds without a training step")] = 0.0,
    select: _Rules = "",
    ignore: _Rules = "",
    json: _Json = "",
    html: Annotated[str, Parameter(help="Write the report as one HTML file")] = "",
    save_problem: Annotated[
        str, Parameter(help="Write a problem file with the losses of that step here, to go on from")
    ] = "",
    remedies: Annotated[
        bool, Parameter(help="Try the remedies on a copy, and show what they change", negative="")
    ] = False,
    full: Annotated[
        bool, Parameter(help="Look as closely as can be, again after 20 steps, and try the remedies", negative="")
    ] = False,
    verbose: Annotated[bool, Parameter(help="List what holds and what does not apply too", negative="")] = False,
) -> int:
    """Run a training script unchanged; check its losses at its first step, and the step itself; print the report."""
    rules = _chosen(select, ignore)
    refuse_inputs([output for output in (html, json, save_problem) if output and output != "-"], [script])
    if save_problem:
        write_whole(save_problem, problem_file(script, _scripts_own, step, Path(save_problem).absolute().parent))
        return _HOLDS
    with redirect_stdout(sys.stderr) if json == "-" else nullcontext():
        ran = run_script(
            script,
            _scripts_own,
            module=module,
            goes_on=continue_,
            timeout=timeout,
            step=step,
            steps=steps,
            only=rules,
            remedies=remedies,
            full=full,
        )
    report = None if ran.watching is None else ran.watching.report
    if ran.raised:
        print(ran.raised, file=sys.stderr, end="")
    if not tells() or (report is None and ran.status and not ran.raised):
        return ran.status  # its own end, as an error in its arguments is
    if report is None and continue_ and not ran.raised:
        print(f"wellposed: {_NOT_SEEN.format(script=script)}", file=sys.stderr)
        return ran.status
    if report is None:
        return _told_nothing(script, ran, timeout)
    if html:
        report.to_html(html)
    status = _told(report, json, verbose=verbose)
    return _INTERRUPTED if ran.interrupted else ran.status if continue_ or ran.status else status


_NOT_SEEN = "{script} ended without a training step: nothing called backward()"
_scripts_own: list[str] = []  # the arguments after the script, which are not ours to read


def _told_nothing(script: str, ran: Ran, timeout: float) -> int:
    """Why there is no report."""
    if ran.interrupted:
        return _INTERRUPTED
    if ran.raised:
        raise InputError(
            f"{script} raised before its first training step", hint="the traceback above is the script's own"
        )
    if ran.late:
        raise InputError(f"{script} took no training step within {timeout:g} seconds", hint="give it longer: --timeout")
    raise InputError(
        _NOT_SEEN.format(script=script),
        hint="does it need arguments to train? They follow it: wellposed run train.py --epochs 1",
    )


_Columns = Annotated[str, Parameter(help="Columns of a table, separated by commas")]
_Key = Annotated[str, Parameter(help="The array of a file that holds several")]
_Axis = Annotated[
    int | None,
    Parameter(
        allow_leading_hyphen=True, help="The axis that counts the features; left out: columns, or channels of images"
    ),
]


@app.command
def stats(
    data: Annotated[
        list[str], Parameter(help="npy, npz, csv, parquet, zarr, hdf5, a folder of images, patterns", negative="")
    ],
    /,
    *,
    output: Annotated[
        str, Parameter(name=["--output", "-o"], help="Write the statistics here, for Standardizer.load")
    ] = "",
    axis: _Axis = None,
    columns: _Columns = "",
    key: _Key = "",
    ddof: Annotated[int, Parameter(help="Subtracted from the count in the variance")] = 0,
    early_stop: Annotated[
        float | None, Parameter(help="Stop when mean and deviation are known to this fraction of the deviation")
    ] = None,
) -> int:
    """Mean, standard deviation and extremes of the features of DATA, larger than memory or not."""
    refuse_inputs([output] if output else [], paths_of(list(data)))
    standardizer = Standardizer(axis, ddof=ddof, early_stop=early_stop, infinite="skip")
    standardizer.fit(list(data), columns=_listed(columns), key=key or None)
    if output:
        standardizer.save(output)
    show(statistics_table(standardizer))
    return _HOLDS


@app.command
def audit(
    statistics: Annotated[str, Parameter(help="What `wellposed stats` or Standardizer.save wrote")],
    data: Annotated[list[str], Parameter(help="As for stats", negative="")],
    /,
    *,
    axis: _Axis = None,
    columns: _Columns = "",
    key: _Key = "",
    json: _Json = "",
    held_out: Annotated[
        bool, Parameter(help="DATA is a test set, which the statistics must not have seen", negative="")
    ] = False,
) -> int:
    """Do these statistics belong to DATA, and if not, which mistake was made?"""
    refuse_inputs([json] if json not in ("", "-") else [], [statistics, *paths_of(list(data))])
    fitted = Standardizer.load(statistics)
    report = api.audit(
        fitted,
        files(list(data), _listed(columns), key or None),
        axis=fitted.axis if axis is None else axis,
        held_out=held_out,
    )
    return _told(report, json)


def _told(report: Report, json: str, *, verbose: bool = False) -> int:
    """Print the report or write it as JSON; the exit status."""
    if json and json != "-":
        write_whole(json, report.to_json() + "\n")
    if json == "-":
        print(report.to_json())
    else:
        show(render(report, verbose=verbose))
    return _HOLDS if report.ok else _FAILS


def _listed(columns: str) -> list[str]:
    return [name.strip() for name in columns.split(",") if name.strip()]


@app.command
def explain(
    rule: Annotated[
        str, Parameter(help="A rule (WP201), the beginning of several (WP2), a subject (signals); left out: all")
    ] = "",
    /,
) -> int:
    """What a rule claims, how it judges, which causes it knows and what helps; of several rules their titles."""
    named = rule.strip()
    found = [one for one in CATALOGUE.values() if one.id.startswith(named.upper()) or one.subject == named.lower()]
    if not found:
        close = get_close_matches(named.upper(), CATALOGUE, 3)
        hint = f"did you mean {', '.join(close)}?" if close else "wellposed explain lists them all"
        raise InputError(f"there is no rule {rule!r}", hint=hint)
    show(explained(found[0]) if len(found) == 1 else listed_rules(found))
    return _HOLDS


@app.command
def tour(chapter: Annotated[int | None, Parameter(help="1 to 6; left out: all of them")] = None, /) -> int:
    """The five notes and the training step, as short chapters that run."""
    from wellposed.tour import CHAPTERS
    from wellposed.tour.page import lay_out

    if chapter is not None and not 1 <= chapter <= len(CHAPTERS):
        raise InputError(f"there is no chapter {chapter}", hint=f"1 to {len(CHAPTERS)}")
    for number, made in enumerate(CHAPTERS, 1):
        if chapter in (None, number):
            show(Group(*([Text("")] if chapter is None and number > 1 else []), lay_out(number, made())))
    return _HOLDS


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    words, _scripts_own[:] = _parted(words)
    try:
        status = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return complain(InputError(str(error), hint="wellposed --help"))
    except InputError as error:
        if "--traceback" in words:
            traceback.print_exception(error)
        return complain(error)
    except Interrupted as stopped:
        if tells():
            show(render(stopped.report))
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: say nothing
        return _HOLDS
    except OSError as error:  # a full disk behind standard output
        return complain(InputError(f"the report cannot be printed: {error.strerror or error}"))
    return status if isinstance(status, int) else _HOLDS


_VALUED = {"--step", "--steps", "--timeout", "--select", "--ignore", "--json", "--html", "--save-problem"}
"""Options of `run` that a value follows."""


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for `run`, up to the name of the script, and what is for the script."""
    if words[:1] != ["run"]:
        return words, []
    place = 1
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in _VALUED else 1
    return words[: place + 1], words[place + 1 :]


def _checked(problem: Problem, rules: _Filter, file: str, after_steps: int, *, remedies: bool, full: bool) -> Report:
    try:
        with progress() as told:
            return api.checkup(
                problem, only=rules, after_steps=after_steps, remedies=remedies, full=full, progress=told
            )
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


class _Filter:
    """Which rules are wanted."""

    def __init__(self, select: tuple[str, ...], ignore: tuple[str, ...]) -> None:
        self._select, self._ignore = select, ignore

    def __call__(self, rule: str) -> bool:
        return (not self._select or rule.startswith(self._select)) and not (
            self._ignore and rule.startswith(self._ignore)
        )


def _chosen(select: str, ignore: str) -> _Filter:
    lists = []
    for option, given in (("--select", select), ("--ignore", ignore)):
        names = tuple(name.strip().upper() for name in given.split(",") if name.strip())
        for name in names:
            if not any(rule.startswith(name) for rule in CATALOGUE):
                raise InputError(f"{option} {name} matches no rule", hint=f"known: {', '.join(CATALOGUE)}")
        lists.append(names)
    chosen = _Filter(*lists)
    if not any(map(chosen, CATALOGUE)):
        raise InputError("--select and --ignore together leave no rule")
    return chosen
