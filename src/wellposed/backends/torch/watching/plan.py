"""Recorded calls in the order in which they are to be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from wellposed.backends.torch.watching.nodes import Held, Made, Node, Place, Setting, needed_by
from wellposed.backends.torch.watching.trees import Path, mapped


class Slot(NamedTuple):
    """What an earlier call of the plan made."""

    place: int
    path: Path


@dataclass(eq=False)
class Given:
    """A tensor that the plan was given; another one can be put in its place by the key."""

    held: Held  # which gets a copy of its own before the user's code writes to the tensor
    key: int

    @property
    def tensor(self) -> torch.Tensor:
        return self.held.tensor


@dataclass
class Call:
    """A call of the plan, which can be made again."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    setting: Setting
    place: Place
    states: list[Any] | None
    whole: bool
    last_of: tuple[int, ...] = ()  # the calls whose results nobody needs after it


def nodes_of(ends: Iterable[Node]) -> list[Node]:
    """The recorded calls that these need, and they, in their order."""
    found: dict[int, Node] = {}
    waiting = list(ends)
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += needed_by(node)
    return sorted(found.values(), key=lambda node: node.order)


def calls_of(nodes: Sequence[Node], kept: Iterable[int] = ()) -> list[Call]:
    """A call for each; results are let go of after their last use, but for those `kept`, by their place."""
    places = {id(node): index for index, node in enumerate(nodes)}
    given: dict[int, Given] = {}

    def planned(part: Any) -> Any:
        if isinstance(part, Made):
            return Slot(places[id(part.node)], part.path)
        return given.setdefault(id(part), Given(part, len(given)))

    calls = []
    for node in nodes:
        args, kwargs = mapped((node.args, node.kwargs), planned, _recorded)
        calls.append(Call(node.call, args, kwargs, node.setting, node.place, node.states, node.whole))
    last = {places[id(needed)]: index for index, node in enumerate(nodes) for needed in needed_by(node)}
    for done, index in last.items():
        if done not in kept:
            calls[index].last_of += (done,)
    return calls


def _recorded(value: Any) -> bool:
    return isinstance(value, Made | Held)
