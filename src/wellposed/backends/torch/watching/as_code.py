"""A captured loss written out as the few lines of Python that it is."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from wellposed.backends.torch.watching.plan import Call, Given, Slot
from wellposed.backends.torch.watching.trees import Path

_OPERATORS = {
    "__add__": "+", "__iadd__": "+", "__radd__": "+", "__sub__": "-", "__isub__": "-", "__mul__": "*", "__imul__": "*",
    "__rmul__": "*", "__truediv__": "/", "__itruediv__": "/", "__pow__": "**", "__matmul__": "@", "__eq__": "==",
    "__ne__": "!=", "__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">=", "__and__": "&", "__or__": "|",
}  # fmt: skip
_TURNED = {"__radd__", "__rmul__"}  # whose second argument stands first; order does not matter to either
_SPACES = (
    (functional, "F"),
    (torch.autograd, "torch.autograd"),
    (torch, "torch"),
    (torch.linalg, "torch.linalg"),
    (torch.special, "torch.special"),
)


class AsCode:
    """`lines` of a function body; `held` are the objects that it names as `held[0]` and so on."""

    def __init__(self, calls: Sequence[Call], model: nn.Module, known: dict[int, str], names: dict[int, str]) -> None:
        """`known` names results of calls that are given, by their place, and `names` tensors, by their key."""
        self.lines: list[str] = []
        self.held: list[Any] = []
        self._names = names
        self._blocks: list[str] = []  # that the last line stands in
        self._results = dict(known)
        self._modules = {id(part): f"model.{path}" if path else "model" for path, part in model.named_modules()}
        for place, call in enumerate(calls):
            if place not in known:
                self._write(place, call)

    def result(self, slot: Slot) -> str:
        """The expression of what a call made."""
        if slot.path and slot.path[0][0] == "of":  # what a module keeps
            module, name = slot.path[0][1]
            return f"{self._modules.get(id(module)) or self._kept(module)}.{name}{_way(slot.path[1:])}"
        return self._results[slot.place] + _way(slot.path)

    def _write(self, place: int, call: Call) -> None:
        name = f"a{place}"
        blocks = [] if call.setting.gradients else ["with torch.no_grad():"]
        blocks += [f'with torch.autocast("{device}", {dtype}):' for device, dtype in call.setting.autocast]
        if blocks != self._blocks:  # else the last one goes on
            self.lines += ["    " * depth + block for depth, block in enumerate(blocks)]
        self._blocks = blocks
        self.lines.append("    " * len(blocks) + f"{name} = {self._call(call)}")
        self._results[place] = name

    def _call(self, call: Call) -> str:
        function: Any = call.function
        name = getattr(function, "__name__", "")
        args = [self._expression(arg) for arg in call.args]
        usual = _defaults(function)
        given = {
            key: value
            for key, value in call.kwargs.items()
            if key not in usual or type(usual[key]) is not type(value) or usual[key] != value
        }
        named = [f"{key}={self._expression(value)}" for key, value in given.items()]
        if isinstance(function, nn.Module):
            return f"{self._modules.get(id(function)) or self._kept(function)}({', '.join([*args, *named])})"
        if name == "__get__":
            return f"{args[0]}.{function.__self__.__name__}"
        if name == "__getitem__":
            return f"{args[0]}[{args[1]}]"
        if name in _OPERATORS and len(args) == 2 and not named:
            left, right = (args[1], args[0]) if name in _TURNED else args
            return f"{left} {_OPERATORS[name]} {right}"
        for space, spelled in _SPACES:
            if getattr(space, name, None) is function:
                return f"{spelled}.{name}({', '.join([*args, *named])})"
        if getattr(torch.Tensor, name, None) is function and args:
            return f"{args[0]}.{name}({', '.join([*args[1:], *named])})"
        return f"{self._kept(function)}({', '.join([*args, *named])})"

    def _expression(self, value: Any) -> str:
        if isinstance(value, Slot):
            return self.result(value)
        if isinstance(value, Given):
            return self._names.get(value.key) or self._kept(value.tensor)
        if isinstance(value, tuple) and type(value) is tuple:
            inside = ", ".join(map(self._expression, value))
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        if type(value) is list:
            return f"[{', '.join(map(self._expression, value))}]"
        if type(value) is dict:
            return f"{{{', '.join(f'{key!r}: {self._expression(part)}' for key, part in value.items())}}}"
        if isinstance(value, slice):
            return f"slice({', '.join(self._expression(part) for part in (value.start, value.stop, value.step))})"
        if value is None or isinstance(value, bool | int | float | str | torch.dtype):
            return repr(value)
        return "..." if value is Ellipsis else self._kept(value)

    def _kept(self, thing: Any) -> str:
        for place, one in enumerate(self.held):
            if one is thing:
                return f"held[{place}]"
        self.held.append(thing)
        return f"held[{len(self.held) - 1}]"


def _defaults(function: Any) -> dict[str, Any]:
    """What its arguments are where they are left out."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a built-in one
        return {}
    return {
        p.name: p.default for p in parameters if p.default is None or isinstance(p.default, bool | int | float | str)
    }


def _way(path: Path) -> str:
    return "".join(f"[{key!r}]" if kind == "item" else f".{key}" for kind, key in path)
