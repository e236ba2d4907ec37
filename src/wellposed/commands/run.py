"""`wellposed run`: a training script, unchanged."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wellposed.commands.app import (
    HOLDS,
    INTERRUPTED,
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
from wellposed.errors import InputError
from wellposed.places import place_in
from wellposed.running import Ran, problem_file, run_script
from wellposed.settings import comments_in, settings_of
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
    sarif: Sarif = "",
    junit: Junit = "",
    out: Out = "",
    save_problem: Annotated[
        str, Parameter(help="Write a problem file with the losses of that step here, to go on from")
    ] = "",
    budget: Budget = None,
    remedies: Remedies = False,
    full: Full = False,
    lines: Lines = False,
    verbose: Verbose = False,
) -> int:
    """Run a training script unchanged; check its losses at its first step, and the step itself; print the report."""
    settled = settings_of(Path.cwd() if module else Path(script).absolute().parent)
    rules = chosen(select or ",".join(settled.select), ignore)
    single = {"json": json, "html": html, "sarif": sarif, "junit": junit}
    refuse_inputs([*single.values(), save_problem], [script])
    comments_in(Path(script))  # what is wrong there is said before it runs
    options = {"only": rules, "remedies": remedies, "full": full, "seconds": seconds_of(budget, settled)}
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
            **options,
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
    file = ran.file
    place = partial(place_in, Path(file), "loss")
    ignored = (*settled.ignored, *comments_in(Path(file)))
    report = publish(report, place, ignored, single, in_folder(out, file, [file]))
    status = told(report, json, place, verbose=verbose, lines=lines)
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


_FLAGS = {"-m", "--continue", "--remedies", "--full", "--lines", "--verbose", "-h", "--help", "--version"}
"""Options of `run` that no value follows."""


def parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for `run`, up to the name of the script, and what is for the script."""
    if words[:1] != ["run"]:
        return words, []
    place = 1
    while place < len(words) and words[place].startswith("-"):
        place += 1 if words[place] in _FLAGS or "=" in words[place] else 2
    return words[: place + 1], words[place + 1 :]
