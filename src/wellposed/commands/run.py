"""`wellposed run`: a training script, unchanged."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wellposed.commands.app import HOLDS, INTERRUPTED, Full, Html, Json, Remedies, Rules, app, chosen, told
from wellposed.errors import InputError
from wellposed.running import Ran, problem_file, run_script
from wellposed.terminal import tells
from wellposed.watching import STEPS
from wellposed.writing import refuse_inputs, write_whole


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
    select: Rules = "",
    ignore: Rules = "",
    json: Json = "",
    html: Html = "",
    save_problem: Annotated[
        str, Parameter(help="Write a problem file with the losses of that step here, to go on from")
    ] = "",
    remedies: Remedies = False,
    full: Full = False,
    verbose: Annotated[bool, Parameter(help="List what holds and what does not apply too", negative="")] = False,
) -> int:
    """Run a training script unchanged; check its losses at its first step, and the step itself; print the report."""
    rules = chosen(select, ignore)
    refuse_inputs([output for output in (html, json, save_problem) if output and output != "-"], [script])
    if save_problem:
        write_whole(save_problem, problem_file(script, scripts_own, step, Path(save_problem).absolute().parent))
        return HOLDS
    with redirect_stdout(sys.stderr) if json == "-" else nullcontext():
        ran = run_script(
            script,
            scripts_own,
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
    if json and json != "-":
        write_whole(json, report.to_json() + "\n")
    status = told(report, json, verbose=verbose)
    return INTERRUPTED if ran.interrupted else ran.status if continue_ or ran.status else status


_NOT_SEEN = "{script} ended without a training step: nothing called backward()"
scripts_own: list[str] = []  # the arguments after the script, which are not ours to read


def _told_nothing(script: str, ran: Ran, timeout: float) -> int:
    """Why there is no report."""
    if ran.interrupted:
        return INTERRUPTED
    if ran.raised:
        raise InputError(
            f"{script} raised before its first training step", hint="the traceback above is the script's own"
        )
    if ran.late:
        raise InputError(f"{script} took no training step within {timeout:g} seconds", hint="give it longer: --timeout")
    raise InputError(
        _NOT_SEEN.format(script=script),
        hint="does it need arguments to train? They follow it: wellposed run train.py --epochs 1; what is"
        " differentiated by hand needs a file with a wp.FunctionProblem, and wellposed check",
    )


_VALUED = {"--step", "--steps", "--timeout", "--select", "--ignore", "--json", "--html", "--save-problem"}
"""Options of `run` that a value follows."""


def parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for `run`, up to the name of the script, and what is for the script."""
    if words[:1] != ["run"]:
        return words, []
    place = 1
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in _VALUED else 1
    return words[: place + 1], words[place + 1 :]
