"""What a user's function or model can reach: closed-over variables, globals it names, attributes, bound arguments."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

_DEPTH = 4
_FOREIGN = ("numpy", "torch", "jax", "scipy", "builtins", "functools", "math", "random", "wellposed")


def reachable(root: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Objects that `root` refers to, each with the name that its owner knows it by. Libraries are not entered; nothing is called."""
    seen: set[int] = set()
    waiting = [(name, root, 0)]
    while waiting:
        label, thing, depth = waiting.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if depth:
            yield label, thing
        if depth < _DEPTH:
            waiting += [(inner, part, depth + 1) for inner, part in _parts(label, thing)]


def _parts(label: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, types.FunctionType):
        if str(thing.__module__).split(".")[0] not in _FOREIGN:
            yield from _variables(thing)
    elif isinstance(thing, types.MethodType):
        yield from ((label, thing.__self__), (label, thing.__func__))
    elif isinstance(thing, functools.partial):
        yield from ((label, part) for part in (thing.func, *thing.args, *thing.keywords.values()))
    elif isinstance(thing, Mapping):
        yield from ((f"{label}[{key!r}]", part) for key, part in list(thing.items())[:100])
    elif isinstance(thing, list | tuple):
        yield from ((f"{label}[{index}]", part) for index, part in enumerate(thing[:100]))
    elif not isinstance(thing, type | types.ModuleType) and hasattr(thing, "__dict__") and type(thing).__module__ != "builtins":
        prefix = f"{label}." if label else ""
        for key, part in list(vars(thing).items()):
            yield (f"{prefix}{key}" if not key.startswith("_") else label), part
        for name in ("forward", "__call__"):
            method = vars(type(thing)).get(name)
            if isinstance(method, types.FunctionType):
                yield label, method


def _variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty:
            yield parameter.name, parameter.default


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*inner)
