"""The user's script, run as itself while its training is watched."""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import runpy
import signal
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wellposed.backends.select import leave_ranks
from wellposed.errors import InputError
from wellposed.users_code import ask
from wellposed.watching import Watching


class Ended(SystemExit):
    """Ends the script where it has been seen enough of, as `sys.exit()` would."""


class Ran:
    """How a script came to its end: its exit status, and what is known of its training; `raised` has the traceback of
    what it raised.
    """

    def __init__(self) -> None:
        self.status = 0
        self.file = ""  # as it was named; of a module, as seen from here where it is below
        self.raised = ""
        self.late = False  # whether the time was up before it trained
        self.interrupted = False
        self.watching: Watching | None = None


def run_script(
    script: str, arguments: list[str], *, module: bool, goes_on: bool, timeout: float, **options: Any
) -> Ran:
    """Runs the file (or, with `module`, the module of that name) as Python would: as `__main__`, with its arguments and
    its own folder on the path. Raises `InputError` where there is no such script.
    """
    if not module and not Path(script).is_file():
        said = "is not a file. It is a folder." if Path(script).is_dir() else "does not exist."
        raise InputError(f"{script} {said}", hint="wellposed run [options] train.py [its arguments]")
    ran = Ran()
    ran.watching = Watching(done=None if goes_on else _end, **options)
    with _as_itself(script, arguments, module=module), _within(timeout, ran):
        ran.file = _file_of(script) if module else script
        try:
            with ran.watching:
                _run(script, module=module)
        except Ended:
            leave_ranks()
        except SystemExit as error:
            ran.status = _status(error)
        except KeyboardInterrupt:
            ran.interrupted = True
        except BaseException as error:  # the script's own: told as Python would
            ran.raised = _told(error)
            ran.status = 1
    return ran


def _file_of(module: str) -> str:
    found = ask(lambda: find_spec(module), None)
    if found is not None and found.submodule_search_locations is not None:
        found = ask(lambda: find_spec(f"{module}.__main__"), None)
    origin = Path(module if found is None or not found.origin else found.origin)
    return str(origin.relative_to(Path.cwd()) if origin.is_relative_to(Path.cwd()) else origin)


def _end() -> None:
    raise Ended(0)


def _run(script: str, *, module: bool) -> None:
    if module:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    loader = importlib.machinery.SourceFileLoader("__main__", script)
    vars(main).update(
        __file__=str(Path(script).absolute()),
        __loader__=loader,
        __spec__=None,
        __cached__=None,
        __builtins__=builtins,
    )
    sys.modules["__main__"] = main  # for good: what the script leaves behind may look itself up at the very end
    code = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
    exec(code, vars(main))


@contextmanager
def _as_itself(script: str, arguments: list[str], *, module: bool) -> Iterator[None]:
    argv, path, main = sys.argv, list(sys.path), sys.modules["__main__"]
    sys.argv = [script, *arguments]
    sys.path[0:1] = [os.getcwd() if module else str(Path(script).resolve().parent)]
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
        sys.modules["__main__"] = main


@contextmanager
def _within(timeout: float, ran: Ran) -> Iterator[None]:
    """Ends the script where it has not trained by then."""
    if not timeout or not hasattr(signal, "setitimer"):
        yield
        return

    def late(_number: int, _frame: Any) -> None:
        if ran.watching is not None and not ran.watching.seen:
            ran.late = True
            raise Ended(0)

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return int(error.code or 0)
    print(error.code, file=sys.stderr)
    return 1


_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep


def _told(error: BaseException) -> str:
    """The traceback as Python alone would show it: from the script on, and without what watches its calls."""
    told = traceback.TracebackException.from_exception(error)
    waiting = [told]
    while waiting:
        one = waiting.pop()
        frames = [frame for frame in one.stack if not frame.filename.startswith((_OURS, "<frozen runpy>"))]
        one.stack = traceback.StackSummary.from_list(frames)
        waiting += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
    return "".join(told.format())


@dataclass
class Seen:
    """A loss of a script's training step, with the script's own objects. `held` has what its code names so."""

    place: str
    model: Any
    optimizer: Any
    inputs: Any
    targets: Any
    held: list[Any]
    code: list[str]
    paired: bool


def seen_in(script: str | os.PathLike[str], arguments: Sequence[str] = (), *, step: int = 1) -> list[Seen]:
    """Runs a training script as far as to this step, and gives its losses with the objects that they are computed from:
    parameters, optimizers and data are as they were when the loss was computed. What `wellposed run --save-problem`
    writes begins with it. Raises `InputError` where the script does not train.
    """
    seen: list[Seen] = []
    back: list[Callable[[], None]] = []

    def look(captured: Any, optimizer: Any, _trained: set[int]) -> None:
        code, held, paired = captured.as_code()
        inputs, targets = captured.data
        seen.append(Seen(captured.shown, captured.model, optimizer, inputs, targets, held, code, paired))
        back.append(captured.put_back(optimizer))

    ran = run_script(
        os.fspath(script), list(arguments), module=False, goes_on=False, timeout=0.0, step=step, steps=step, look=look
    )
    if ran.raised:
        raise InputError(f"{script} raised before it trained:\n\n{ran.raised}")
    if not seen:
        raise InputError(f"{script} ended without a training step that torch took", hint="give it its arguments")
    for put in reversed(back):
        put()
    return seen


def problem_file(script: str, arguments: list[str], step: int, folder: Path) -> str:
    """The problem file, for this folder, that corresponds to the losses of a script at a step."""
    seen = seen_in(script, arguments, step=step)
    way = os.path.relpath(script, folder)
    names = ["seen"] if len(seen) == 1 else [f"seen_{number}" for number in range(1, len(seen) + 1)]
    parts = [
        f'"""{Path(script).name} at its training step {step}, written by `wellposed run --save-problem`."""',
        "from pathlib import Path\n\nimport torch\nfrom torch.nn import functional as F\n\nimport wellposed as wp",
        f"{names[0] if len(names) == 1 else ', '.join(names)} = wp.seen_in("
        f"Path(__file__).parent / {way!r}, {arguments!r}, step={step})" + ("[0]" if len(names) == 1 else ""),
    ]
    for number, (name, one) in enumerate(zip(names, seen, strict=True), 1):
        end = "" if number == 1 else f"_{number}"
        given = "outputs, targets" if one.paired else "model"
        uses = [f"    {what} = {name}.{what}" for what in ("held", "inputs", "targets") if _uses(one, what)]
        body = "\n".join([*uses, *(f"    {line}" for line in one.code)])
        data = f"({name}.inputs, {name}.targets)" if one.paired else f"inputs={name}.inputs, targets={name}.targets"
        parts.append(f"# {one.place}\ndef loss{end}({given}):\n{body}")
        parts.append(f"problem{end} = wp.TorchProblem({name}.model, loss{end}, {data}, optimizer={name}.optimizer)")
    return "\n\n".join(parts[:3]) + "\n\n\n" + "\n\n\n".join(parts[3:]) + "\n"


def _uses(seen: Seen, what: str) -> bool:
    return not (what == "targets" and seen.paired) and any(what in line for line in seen.code)
