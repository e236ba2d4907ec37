"""What the user's own code calls its modules, tensors and optimizers: looked up in the frames that are running."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn

_INSIDE = ("torch", "wellposed")


class Names:
    """The variables of the frames from the caller outwards: their values by name, and attributes of `self`."""

    def __init__(self) -> None:
        self._found: dict[int, str] = {}
        self._things: list[Any] = []  # kept, so that no other object gets the identity of one
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package not in _INSIDE and package not in sys.stdlib_module_names:
                for name, value in _variables(frame):
                    if id(value) not in self._found:
                        self._found[id(value)] = name
                        self._things.append(value)
            frame = frame.f_back

    def of(self, thing: Any) -> str:
        """ "" where it has none."""
        return self._found.get(id(thing), "")

    def parameters(self) -> dict[int, str]:
        """The parameters of all modules that have a name, by identity."""
        found: dict[int, str] = {}
        for name, module in self.modules():
            for path, parameter in module.named_parameters():
                found.setdefault(id(parameter), f"{name}.{path}")
        return found | {id(t): self.of(t) for t in self._things if isinstance(t, torch.Tensor) and t.requires_grad}

    def modules(self) -> list[tuple[str, nn.Module]]:
        return [(self.of(thing), thing) for thing in self._things if isinstance(thing, nn.Module)]


def _variables(frame: FrameType) -> Iterator[tuple[str, Any]]:
    own = list(frame.f_locals.items())
    if frame.f_locals is not frame.f_globals:
        own += list(frame.f_globals.items())
    for name, value in own:
        if isinstance(value, nn.Module | torch.Tensor | torch.optim.Optimizer):
            yield name, value
    for name, value in own:
        if isinstance(value, list | tuple | dict) and len(value) <= 100:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{name}[{key!r}]", part) for key, part in items if _wanted(part))
        elif type(value).__module__ not in ("builtins", "torch") and not isinstance(value, type):
            held = getattr(value, "__dict__", None)  # not every object has attributes of its own
            if isinstance(held, dict):
                yield from ((f"{name}.{key}", part) for key, part in list(held.items()) if _wanted(part))


def _wanted(value: Any) -> bool:
    return isinstance(value, nn.Module | torch.Tensor | torch.optim.Optimizer)
