"""Tensors within whatever is handed to a call or comes back from it: containers, and objects that hold some."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

Path = tuple[tuple[str, Any], ...]
"""How a part is reached: ("item", key) and ("attr", name), from the outside in; ("of", (module, name)) is what a module
has by then."""

_DEPTH = 4  # objects within objects: an output, its distribution, that one's parameters
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type, types.ModuleType, torch.dtype, torch.device)
_ONE = (*_PLAIN, nn.Module, types.FunctionType, types.BuiltinFunctionType, types.MethodType, torch.Generator)
"""What is not looked into."""


def tensors_in(value: Any, depth: int = _DEPTH) -> Iterator[tuple[Path, torch.Tensor]]:
    """Every tensor, with the way to it."""
    if isinstance(value, torch.Tensor):
        yield (), value
        return
    for step, part in _parts(value, depth):
        for path, tensor in tensors_in(part, depth - 1):
            yield (step, *path), tensor


def part_at(value: Any, path: Path) -> Any:
    """What `tensors_in` found there."""
    for kind, key in path:
        value = vars(key[0])[key[1]] if kind == "of" else value[key] if kind == "item" else getattr(value, key)
    return value


def mapped(value: Any, change: Callable[[Any], Any], held: Callable[[Any], bool], depth: int = _DEPTH) -> Any:
    """The same with `change` of everything of which `held` is true; containers are new, so that what becomes of the
    ones given changes nothing here. An object is copied only where it holds something to be changed.
    """
    if held(value):
        return change(value)
    if isinstance(value, _ONE) or depth == 0:
        return value
    if isinstance(value, slice):
        return slice(*(mapped(part, change, held, depth) for part in (value.start, value.stop, value.step)))
    if isinstance(value, tuple | list | set | frozenset):
        return _sequence(value, [mapped(part, change, held, depth - 1) for part in value])
    if type(value) is dict:
        return {key: mapped(part, change, held, depth - 1) for key, part in value.items()}
    if not _holds(value, held, depth) and not isinstance(value, Mapping):
        return value
    made = copy.copy(value)
    for (kind, key), part in _parts(value, depth):
        changed = mapped(part, change, held, depth - 1)
        if changed is part:
            continue
        if kind == "item":
            made[key] = changed
        else:
            object.__setattr__(made, key, changed)
    return made


def _sequence(value: Any, parts: list[Any]) -> Any:
    if hasattr(value, "_fields"):  # a named tuple
        return type(value)(*parts)
    try:
        return type(value)(parts)
    except TypeError:  # a class of the user's own, which takes something else
        return value


def _holds(value: Any, held: Callable[[Any], bool], depth: int) -> bool:
    if depth == 0 or isinstance(value, _ONE):
        return False
    return any(held(part) or _holds(part, held, depth - 1) for _, part in _parts(value, depth))


def _parts(value: Any, depth: int) -> Iterator[tuple[tuple[str, Any], Any]]:
    if depth == 0 or isinstance(value, _ONE):
        return
    if isinstance(value, tuple | list):
        yield from ((("item", index), part) for index, part in enumerate(value))
    elif isinstance(value, Mapping):
        yield from ((("item", key), value[key]) for key in list(value))
    elif isinstance(value, torch.Tensor):
        return
    else:
        own = getattr(value, "__dict__", None)  # not every object has attributes of its own
        if isinstance(own, dict):
            yield from ((("attr", key), part) for key, part in list(own.items()))
