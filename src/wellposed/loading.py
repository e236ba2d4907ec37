"""The user's file: run it, and take the problem that it defines."""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from wellposed.backends.protocol import Problem
from wellposed.errors import InputError
from wellposed.printable import with_article

_RETURNS = (
    "define a Problem, or a function without arguments that returns one: problem = wp.TorchProblem(model, loss, batch)"
)


def load_problem(target: str) -> Problem:
    """The problem of FILE or FILE:NAME (NAME is `problem` if not given).

    Raises `InputError` where there is no such file or name, where the file raises (the cause is chained), and where the
    name holds something else.
    """
    path, name = split(target)
    if not path.is_file():
        said = "is not a file. It is a folder." if path.is_dir() else "does not exist."
        raise InputError(f"{path} {said}", hint="wellposed check FILE[:NAME]")
    _refuse_training(path, name)
    module = _run(path)
    if not hasattr(module, name):
        others = sorted(key for key, value in vars(module).items() if isinstance(value, Problem))
        hint = f"these are problems: {', '.join(f'{path}:{other}' for other in others)}" if others else _RETURNS
        raise InputError(f"{path} defines no {name!r}", hint=hint)
    found = getattr(module, name)
    if callable(found) and not isinstance(found, Problem | type):
        found = _guarded(f"{name}() in {path}", found)
    if not isinstance(found, Problem):
        kind = f"the class {found.__name__}" if isinstance(found, type) else with_article(type(found).__name__)
        raise InputError(f"{name!r} in {path} is {kind}, not a Problem", hint=_RETURNS)
    return found


def _refuse_training(path: Path, name: str) -> None:
    """Raises `InputError` for a script that trains and nowhere says `problem`: it is not run to its end to find out."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # running it will say so
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias)}
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if name not in names and "*" not in names and called & _TRAINING:
        raise InputError(f"{path} defines no {name!r}: this is a training script", hint=f"wellposed run {path}")


_TRAINING = {"backward", "fit", "train_on_batch", "value_and_grad", "apply_gradients", "zero_grad"}
"""Methods that training scripts call."""


def split(target: str) -> tuple[Path, str]:
    """The file and the name of FILE or FILE:NAME."""
    file, colon, name = target.rpartition(":")
    if colon and name.isidentifier():
        return Path(file), name
    return Path(target), "problem"


class _AsItStands(SourceFileLoader):
    """Compiles the file each time: a compiled copy beside it may be of what it was a moment ago, and is not ours to
    write.
    """

    def get_code(self, fullname: str) -> types.CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _run(path: Path) -> Any:
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file", hint="its name must end in .py")
    name = "__wellposed_problem__"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsItStands(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look their module up
    sys.path.insert(0, str(path.parent.resolve()))  # as `python FILE` does
    try:
        _guarded(str(path), lambda: spec.loader.exec_module(module))
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def _guarded(what: str, call: Any) -> Any:
    try:
        return call()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        place = _line(error, what)
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise InputError(f"{what} raised {said}{place}", hint="--traceback shows the whole call stack") from error


def _line(error: BaseException, what: str) -> str:
    if isinstance(error, SyntaxError):
        return ""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if (
            trace.tb_frame.f_code.co_filename in what
            or trace.tb_frame.f_globals.get("__name__") == "__wellposed_problem__"
        ):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""
