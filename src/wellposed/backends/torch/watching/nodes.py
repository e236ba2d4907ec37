"""Calls as they were made: what was given, what was switched on, what was there before."""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os.path import basename
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from wellposed.backends.closures import of_library
from wellposed.backends.torch.watching.trees import Path, mapped

_INSIDE = ("torch", "wellposed")


class Place(NamedTuple):
    """A line of the user's own code, and the module that it is in."""

    file: str
    line: int
    module: str

    @property
    def shown(self) -> str:
        """As "train.py:12"; "" where it is not known."""
        return f"{basename(self.file)}:{self.line}" if self.file else ""


def find_site() -> int:
    """A hash of the call stack outside of torch and our own code: two calls of one helper have two."""
    frame: FrameType | None = sys._getframe(1)
    stack = []
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _INSIDE:
            stack.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return hash(tuple(stack))


def find_place() -> Place:
    """The innermost line of the call stack that is the user's own; where libraries alone are on it, the innermost one
    outside of torch.
    """
    frame: FrameType | None = sys._getframe(1)
    other = Place("", 0, "")
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        package = name.partition(".")[0]
        if package not in _INSIDE and package not in sys.stdlib_module_names:
            place = Place(frame.f_code.co_filename, frame.f_lineno, name)
            if not of_library(place.file):
                return place
            other = other if other.file else place
        frame = frame.f_back
    return other


@dataclass
class Held:
    """A tensor that nothing on the way made: data, a parameter. It is replaced by a copy before it is written to."""

    tensor: torch.Tensor


@dataclass(eq=False)
class Node:
    """One call. In its arguments stand `Held` and `Made` for tensors."""

    order: int
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    setting: Setting
    place: Place
    states: list[Any] | None = None  # of the random generators, before it
    kept: Kept | None = None  # what a module kept, before it
    after: tuple[Node, ...] = ()  # which wrote to what it reads
    whole: bool = False  # whether it is run again as Python, whatever happens within


class Made(NamedTuple):
    """A tensor that a call made, and where in what it returned."""

    node: Node
    path: Path


class Setting(NamedTuple):
    """What was switched on around a call."""

    gradients: bool
    autocast: tuple[tuple[str, torch.dtype], ...]

    @contextmanager
    def on(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(self.gradients))
            for device, dtype in self.autocast:
                stack.enter_context(torch.autocast(device, dtype))
            yield


def setting() -> Setting:
    devices = ("cpu", "cuda") if torch.cuda.is_initialized() else ("cpu",)
    return Setting(
        torch.is_grad_enabled(),
        tuple((device, torch.get_autocast_dtype(device)) for device in devices if torch.is_autocast_enabled(device)),
    )


@dataclass
class Kept:
    """Buffers, frozen parameters that are small, plain attributes and modes of a module and all within it."""

    module: nn.Module
    buffers: list[tuple[nn.Module, str, torch.Tensor | None]]
    attributes: list[tuple[nn.Module, dict[str, Any]]]
    modes: list[tuple[nn.Module, bool]]
    containers: list[tuple[Any, Any]]  # lists, dictionaries and arrays that it keeps, with copies
    frozen: list[tuple[nn.Parameter, torch.Tensor]]  # statistics may be kept in them

    @staticmethod
    def of(module: nn.Module) -> Kept:
        parts = list(module.modules())
        return Kept(
            module,
            [(m, n, None if b is None else b.detach().clone()) for m in parts for n, b in m._buffers.items()],
            [(m, {k: v for k, v in vars(m).items() if _plain(k, v) or _holds(k, v)}) for m in parts],
            [(m, m.training) for m in parts],
            [(value, copy.copy(value)) for m in parts for key, value in vars(m).items() if _holds(key, value)],
            [(p, p.detach().clone()) for p in module.parameters() if _may_be_written_to(p)],
        )

    def now(self) -> Kept:
        """The same things as they are now, the buffers themselves."""
        return Kept(
            self.module,
            [(m, n, m._buffers.get(n)) for m, n, _ in self.buffers],
            [(m, {key: vars(m).get(key) for key in before}) for m, before in self.attributes],
            [(m, m.training) for m, _ in self.modes],
            [(container, copy.copy(container)) for container, _ in self.containers],
            [(p, p.data) for p, _ in self.frozen],
        )

    def put(self, *, copied: bool = True) -> None:
        """Back to these, of which copies may be written to."""
        for m, n, b in self.buffers:
            m._buffers[n] = b.clone() if copied and b is not None else b
        for p, data in self.frozen:
            p.data = data.clone() if copied else data
        for m, before in self.attributes:
            vars(m).update(before)
        for m, training in self.modes:
            m.training = training
        for container, before in self.containers:
            if isinstance(container, np.ndarray):
                container[...] = before
            else:
                container.clear()
                (container.extend if isinstance(container, list | deque) else container.update)(before)


_SMALL = 65_536  # numbers of a frozen parameter: more than that are weights, and no statistics


def _may_be_written_to(parameter: nn.Parameter) -> bool:
    return not parameter.requires_grad and type(parameter) is nn.Parameter and parameter.numel() <= _SMALL


_OWN = set(vars(nn.Module()))  # what every module has


def _holds(key: str, value: Any) -> bool:
    return key not in _OWN and type(value) in (list, dict, set, deque, np.ndarray)


def _plain(key: str, value: Any) -> bool:
    return key not in _OWN and isinstance(value, bool | int | float | str | tuple | torch.Tensor | type(None))


def depends(node: Node, parameters: set[int], known: dict[int, bool]) -> bool:
    """Whether a call, or one that it needs, reads one of these."""
    waiting = [node]
    while waiting:  # depth first, without recursion: a recording may be long
        at = waiting[-1]
        needed = [other for other in needed_by(at) if id(other) not in known]
        if needed:
            waiting += needed
            continue
        waiting.pop()
        known[id(at)] = _reads(at, parameters) or any(known[id(other)] for other in needed_by(at))
    return known[id(node)]


def _reads(node: Node, parameters: set[int]) -> bool:
    if isinstance(node.call, nn.Module) and any(id(p) in parameters for p in node.call.parameters()):
        return True
    found: list[Any] = []
    mapped((node.args, node.kwargs), found.append, lambda part: isinstance(part, Held))
    return any(id(held.tensor) in parameters for held in found)


def needed_by(node: Node) -> list[Node]:
    """The calls whose results a call reads, or that wrote to what it reads."""
    found: list[Any] = []
    mapped((node.args, node.kwargs), found.append, lambda part: isinstance(part, Made))
    return [*node.after, *(made.node for made in found)]
