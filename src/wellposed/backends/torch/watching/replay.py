"""Recorded calls made again: a loss as a function, what is done to gradients."""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch

from wellposed.backends.randomness import Randomness, same_state
from wellposed.backends.torch.state import torch_generators
from wellposed.backends.torch.watching.nodes import Made, Node, Place, setting
from wellposed.backends.torch.watching.plan import Call, Given, Slot, calls_of, nodes_of
from wellposed.backends.torch.watching.trees import mapped, part_at


class Replay:
    """The calls from parameters to a loss, in their order. Called, it makes them again.

    Where random generators stand as they did when it was made, each call draws what it drew; elsewhere whatever comes
    next. What is known of earlier calls can be put in their place.
    """

    def __init__(self, calls: list[Call], result: Slot, now: list[Any], weight: torch.Tensor | None = None) -> None:
        """`weight` makes a number of a loss of several."""
        self.calls, self.result, self.weight = calls, result, weight
        self._now = now  # the generators' states as an evaluation finds them
        self._drawing = any(call.states is not None for call in calls)

    def __call__(self, _model: Any) -> Any:
        return self.run()

    def run(self, known: dict[int, Any] | None = None, put: dict[int, torch.Tensor] | None = None) -> Any:
        """The loss; `known` has results of calls by their index, which are then not made, and `put` other tensors for
        those that it was given, by their keys.
        """
        again = _Again(self._now if self._drawing else None)
        values = make_again(self.calls, known, put, again)
        again.end()
        made = part_at(values[self.result.place], self.result.path)
        return made if self.weight is None else (made * self.weight).sum()


def make_again(
    calls: Sequence[Call],
    known: dict[int, Any] | None = None,
    put: dict[int, torch.Tensor] | None = None,
    again: _Again | None = None,
) -> dict[int, Any]:
    """What is left of the results when all calls have been made, by their place."""
    values: dict[int, Any] = dict(known or {})
    again = again or _Again(None)
    for index, call in enumerate(calls):
        if index not in values:
            values[index] = _made(call, values, put or {}, again)
        for done in call.last_of:
            values.pop(done, None)
    return values


class _Again:
    """The random numbers of the recording, in an evaluation that finds the generators as they were then."""

    def __init__(self, now: list[Any] | None) -> None:
        self._random = Randomness(*torch_generators())
        self._now = now
        self._on = now is not None and all(map(same_state, self._random.states(), now))
        self._drawn: set[int] = set()

    def before(self, states: list[Any] | None) -> None:
        if self._on and states is not None:
            self._random.put(states)

    def after(self, states: list[Any] | None) -> None:
        if self._on and states is not None:
            pairs = zip(states, self._random.states(), strict=True)
            self._drawn |= {index for index, (before, after) in enumerate(pairs) if not same_state(before, after)}

    def end(self) -> None:
        """An evaluation that drew leaves the generators elsewhere: the next one in a row draws other numbers."""
        if self._on and self._now is not None:
            self._random.put(self._now)
            for index in self._drawn:
                _DRAWS[min(index, 3)](index - 3)


_DRAWS: tuple[Callable[[int], Any], ...] = (
    lambda _: random.random(),
    lambda _: np.random.random(),
    lambda _: torch.rand(1),
    lambda device: torch.rand(1, device=f"cuda:{device}"),
)
"""One number of each generator, in the order of their states."""


def _made(call: Call, values: dict[int, Any], put: dict[int, torch.Tensor], again: _Again) -> Any:
    def put_in(part: Any) -> Any:
        if isinstance(part, Given):
            return put.get(part.key, part.tensor)
        return part_at(values[part.place], part.path)

    args, kwargs = mapped((call.args, call.kwargs), put_in, _stands_in)
    again.before(call.states)
    with nullcontext() if call.setting == setting() else call.setting.on():
        made = _call_at(call.place, call.function, args, kwargs)
    again.after(call.states)
    return made


def _stands_in(value: Any) -> bool:
    return isinstance(value, Slot | Given)


def _call_at(place: Place, function: Any, args: Any, kwargs: Any) -> Any:
    """So that whoever looks at the call stack, and a traceback, sees the line of the user's own."""
    names = {"__name__": place.module, "call": function, "args": args, "kwargs": kwargs}
    exec(_line_of(place.file, place.line), names)
    return names["made"]


@cache
def _line_of(file: str, line: int) -> types.CodeType:
    return compile("\n" * (line - 1) + "made = call(*args, **kwargs)", file or "<script>", "exec")


def replay_of(loss: Made, now: list[Any], weight: torch.Tensor | None = None) -> tuple[Replay, list[Node]]:
    """The loss as a function, and the recorded call of each of its own."""
    nodes = nodes_of([loss.node])
    index = next(index for index, node in enumerate(nodes) if node is loss.node)
    return Replay(calls_of(nodes, {index}), Slot(index, loss.path), now, weight), nodes
