"""Algorithms that ask for values of f instead of calling it.

Each is a generator: it yields the points t at which it wants f and is sent, for every one, the displacement really made
(t may have been rounded when it was added to x) and the value. So one call of f can serve many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

Result = TypeVar("Result")

Answer = Sequence[tuple[float, float]]
"""For every point asked for: the displacement really made, and the value there."""

Asking = Generator[Sequence[float], Answer, Result]


def run(lanes: Sequence[Asking[Result]], answer: Callable[[Sequence[int], Sequence[float]], Answer]) -> list[Result]:
    """Run every lane to its end, and return what they return.

    `answer(lane, t)` gets all the points wanted at a time, with the number of the lane that wants each.
    """
    done: dict[int, Result] = {}
    wanted: dict[int, Sequence[float]] = {}
    for index, lane in enumerate(lanes):
        try:
            wanted[index] = next(lane)
        except StopIteration as stop:
            done[index] = stop.value
    while wanted:
        indices = [index for index, points in wanted.items() for _ in points]
        found = answer(indices, [t for points in wanted.values() for t in points])
        start, left = 0, {}
        for index, points in wanted.items():
            try:
                left[index] = lanes[index].send(found[start : start + len(points)])
            except StopIteration as stop:
                done[index] = stop.value
            start += len(points)
        wanted = left
    return [done[index] for index in range(len(lanes))]
