"""What a user's function or model can reach: closed-over variables, globals it names, attributes, bound arguments."""

from __future__ import annotations

import functools
import inspect
import sys
import sysconfig
import types
from collections import deque
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import Any

_DEPTH = 16  # references from the root: further away nothing of a training problem has been seen to lie
_MOST_OBJECTS = 100_000  # objects looked at
_ITEMS = 1_000  # of one container, the first
_FOREIGN = ("numpy", "torch", "jax", "scipy", "builtins", "functools", "math", "random", "wellposed")
_LIBRARIES = tuple(
    str(Path(path).resolve())
    for key, path in sysconfig.get_paths().items()
    if key in ("stdlib", "platstdlib", "purelib", "platlib")
)


def reachable(root: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Objects that `root` refers to, each with the name that its owner knows it by. Libraries are not entered; nothing
    is called.
    """
    seen: dict[int, Any] = {}  # holds what it has seen, so that no other object gets its identity
    waiting = deque([(name, root, 0)])
    while waiting and len(seen) < _MOST_OBJECTS:
        label, thing, depth = waiting.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if depth:
            yield label, thing
        if depth < _DEPTH:
            waiting.extend((inner, part, depth + 1) for inner, part in _parts(label, thing))


def _parts(label: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, str | bytes | int | float | complex | type | types.ModuleType | None):
        return
    if isinstance(thing, types.FunctionType):
        if not foreign(thing):
            yield from variables(thing)
    elif isinstance(thing, types.MethodType):
        yield from ((label, thing.__self__), (label, thing.__func__))
    elif isinstance(thing, functools.partial):
        yield from ((label, part) for part in (thing.func, *thing.args, *thing.keywords.values()))
    elif isinstance(thing, Mapping):
        yield from ((f"{label}[{key!r}]", part) for key, part in list(thing.items())[:_ITEMS])
    elif isinstance(thing, list | tuple | deque):
        yield from ((f"{label}[{index}]", part) for index, part in enumerate(list(thing)[:_ITEMS]))
    elif isinstance(thing, Set):
        yield from ((label, part) for part in list(thing)[:_ITEMS])
    elif type(thing).__module__ != "builtins" or isinstance(getattr(thing, "__dict__", None), dict):
        yield from _attributes(label, thing)


def _attributes(label: str, thing: Any) -> Iterator[tuple[str, Any]]:
    prefix = f"{label}." if label else ""
    for key, part in [
        *getattr(thing, "__dict__", {}).items(),
        *slots(thing),
    ]:  # not every object has attributes of its own
        yield (f"{prefix}{key}" if not key.startswith("_") else label), part
    if hasattr(type(thing), "_backward_hooks"):  # of a tensor, which keeps them outside of its dictionary
        yield label, thing._backward_hooks
    for name in ("forward", "__call__"):
        method = vars(type(thing)).get(name)
        if isinstance(method, types.FunctionType):
            yield label, method


def slots(thing: Any) -> list[tuple[str, Any]]:
    """What an object of a class with `__slots__` holds, by name."""
    found = []
    for kind in type(thing).__mro__:
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            descriptor = vars(kind).get(name)
            if isinstance(descriptor, types.MemberDescriptorType):
                try:
                    found.append((name, descriptor.__get__(thing)))
                except AttributeError:  # a slot without a value
                    continue
    return found


def keepers(*roots: Any) -> Iterator[Any]:
    """What code of the user's own may keep something in: containers that functions close over or name as globals, and
    objects of the user's classes.
    """
    for root in roots:
        for _, thing in (("", root), *reachable(root)):
            if isinstance(thing, types.FunctionType):
                if not foreign(thing):
                    yield from mutable_variables(thing)
            elif hasattr(thing, "__dict__") and _of_own_class(thing):
                yield thing


def mutable_variables(function: types.FunctionType) -> list[Any]:
    """The containers that it closes over, names as globals or has as defaults, and may write to."""
    return [part for _, part in variables(function) if isinstance(part, list | dict | set | deque)]


def _of_own_class(thing: Any) -> bool:
    module = sys.modules.get(type(thing).__module__)
    if module is None or isinstance(thing, type | types.ModuleType | types.FunctionType | types.MethodType):
        return False
    if type(thing).__module__.split(".")[0] in _FOREIGN:
        return False
    return not of_library(getattr(module, "__file__", None) or "")


def foreign(function: types.FunctionType) -> bool:
    """Whether a function is not the user's own: of a framework, or of another library that closes over nothing."""
    if str(function.__module__).split(".")[0] in _FOREIGN:
        return True
    return function.__closure__ is None and of_library(function.__code__.co_filename)


@cache
def of_library(file: str) -> bool:
    """Whether a file of code is the standard library's or an installed package's."""
    return str(Path(file)).startswith(_LIBRARIES)


def variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """What it closes over, the globals that it names, and its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue
    if not of_library(function.__code__.co_filename):
        for name in named_globals(function):
            yield name, function.__globals__[name]
    for parameter in inspect.signature(function, follow_wrapped=False).parameters.values():
        if parameter.default is not parameter.empty:
            yield parameter.name, parameter.default


def named_globals(function: types.FunctionType) -> list[str]:
    """The globals that a function, or one written within it, refers to by name."""
    return sorted(_names(function.__code__) & function.__globals__.keys())


@cache
def _names(code: types.CodeType) -> frozenset[str]:
    inner = (_names(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(code.co_names).union(*inner)
