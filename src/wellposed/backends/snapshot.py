"""Everything that the user's objects hold, as it is now, and the way back to it."""

from __future__ import annotations

import io
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wellposed.backends.closures import foreign, named_globals, reachable, slots

_LARGEST = 1 << 28  # bytes: a larger array is not looked at, it belongs to a data set
_PLAIN = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)

Restore = Callable[[], None]


class Snapshot:
    """Of all objects within reach of some roots: attributes, containers, closed-over variables, arrays.

    Objects are looked at one level at a time, so that each keeps its identity. `restore` puts back what has changed.
    Tensors of a framework are its adapter's: `things` has everything that was found.
    """

    def __init__(self, *roots: Any) -> None:
        self.things: list[Any] = []
        self._restores: list[Restore] = []
        seen: set[int] = set()
        for root in roots:
            for thing in [root, *(thing for _, thing in reachable(root))]:
                if id(thing) not in seen:
                    seen.add(id(thing))
                    self.things.append(thing)
                    self._restores += _restores_of(thing)
                    if isinstance(thing, type) and any(True for _ in _own_classes(thing)):
                        self._restores.append(_class_restored(thing))
                    if not isinstance(thing, type) and type(thing).__module__ not in ("builtins", "torch.nn.parameter"):
                        for kind in _own_classes(type(thing)):
                            if id(kind) not in seen:
                                seen.add(id(kind))
                                self._restores.append(_class_restored(kind))

    def restore(self) -> None:
        for restore in self._restores:
            restore()


def _restores_of(thing: Any) -> Iterator[Restore]:
    if isinstance(thing, types.FunctionType):
        if not foreign(thing):
            yield from _of_function(thing)
    elif isinstance(thing, dict):
        yield _dict_restored(thing)
    elif isinstance(thing, list | deque):
        yield _list_restored(thing)
    elif isinstance(thing, io.StringIO | io.BytesIO):
        yield _written_restored(thing)
    elif isinstance(thing, set):
        yield _set_restored(thing)
    elif isinstance(thing, np.ndarray):
        if thing.nbytes <= _LARGEST and thing.flags.writeable and thing.dtype.kind != "O":
            yield _array_restored(thing)
    elif not isinstance(thing, type | types.ModuleType | types.MethodType):
        held = getattr(thing, "__dict__", None)  # not every object has attributes of its own
        if isinstance(held, dict) and type(thing).__module__ != "builtins":
            yield _dict_restored(held)
        for name, value in slots(thing):
            yield _slot_restored(thing, name, value)


def _dict_restored(held: dict[Any, Any]) -> Restore:
    before = dict(held)

    def restore() -> None:
        same = len(held) == len(before) and all(
            a is c and b is d for (a, b), (c, d) in zip(held.items(), before.items(), strict=True)
        )
        if not same:
            dict.clear(held)
            dict.update(held, before)

    return restore


def _list_restored(held: list[Any] | deque[Any]) -> Restore:
    before = list(held)

    def restore() -> None:
        if len(held) != len(before) or any(a is not b for a, b in zip(held, before, strict=True)):
            held.clear()
            held.extend(before)

    return restore


def _set_restored(held: set[Any]) -> Restore:
    before = set(held)

    def restore() -> None:
        if held != before:
            held.clear()
            held.update(before)

    return restore


def _array_restored(held: np.ndarray[Any, Any]) -> Restore:
    before = held.copy(order="K")

    def restore() -> None:
        if held.flags.writeable and held.tobytes() != before.tobytes():
            held[...] = before

    return restore


def _written_restored(held: io.StringIO | io.BytesIO) -> Restore:
    if held.closed:
        return lambda: None
    before, place = held.getvalue(), held.tell()

    def restore() -> None:
        if not held.closed and held.getvalue() != before:
            held.seek(0)
            held.truncate()
            held.write(before)  # type: ignore[arg-type]
            held.seek(place)

    return restore


def _slot_restored(thing: Any, name: str, value: Any) -> Restore:
    def restore() -> None:
        if dict(slots(thing)).get(name) is not value:
            object.__setattr__(thing, name, value)

    return restore


def _of_function(function: types.FunctionType) -> Iterator[Restore]:
    for cell in function.__closure__ or ():
        try:
            yield _cell_restored(cell, cell.cell_contents)
        except ValueError:  # a variable that has no value yet
            continue
    yield _globals_restored(
        function.__globals__, {name: function.__globals__[name] for name in named_globals(function)}
    )
    if function.__dict__:
        yield _dict_restored(function.__dict__)


def _cell_restored(cell: types.CellType, value: Any) -> Restore:
    def restore() -> None:
        cell.cell_contents = value

    return restore


def _globals_restored(held: dict[str, Any], before: dict[str, Any]) -> Restore:
    def restore() -> None:
        for name, value in before.items():
            if held.get(name) is not value:
                held[name] = value

    return restore


def _own_classes(kind: type) -> Iterator[type]:
    """The classes of the user's own among an object's: counters may be kept there."""
    for one in kind.__mro__:
        if one.__module__.split(".")[0] not in ("builtins", "torch", "jax", "numpy", "collections", "abc", "typing"):
            yield one


def _class_restored(kind: type) -> Restore:
    before = {
        name: value for name, value in vars(kind).items() if isinstance(value, _PLAIN) and not name.startswith("__")
    }

    def restore() -> None:
        for name, value in before.items():
            if vars(kind).get(name) is not value:
                setattr(kind, name, value)

    return restore
