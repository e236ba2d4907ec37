"""The sum at the end of a JAX loss, taken apart, and of each term the values that all of it depends through."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from wellposed.backends.jax.flat import Flat, Step

_SAME = {"reshape", "squeeze", "convert_element_type", "copy", "broadcast_in_dim", "expand_dims"}
_MOST = 12  # terms that are told of


class Part(NamedTuple):
    """What is added to the loss: the value at that place, `factor` times."""

    place: int
    factor: float


def parts_of(flat: Flat) -> list[Part]:
    """The terms."""
    found = list(_apart(flat, flat.output, 1.0))
    return found if len(found) <= _MOST else [Part(flat.output, 1.0)]


def _apart(flat: Flat, place: int, factor: float) -> Iterator[Part]:
    step = flat.made_by.get(place)
    if step is None or flat.shapes[place].size != 1 or any(flat.shapes[read].size != 1 for read in step.reads):
        if place not in flat.constants or float(np.asarray(flat.constants[place]).ravel()[0]):
            yield Part(place, factor)
        return
    if step.name in ("add", "add_any", "sub"):
        one, other = step.reads
        yield from _apart(flat, one, factor)
        yield from _apart(flat, other, -factor if step.name == "sub" else factor)
    elif step.name == "neg":
        yield from _apart(flat, step.reads[0], -factor)
    elif step.name in _SAME:
        yield from _apart(flat, step.reads[0], factor)
    elif step.name in ("mul", "div") and (scaled := _scaled(flat, step)) is not None and mean_of(flat, place) == 0:
        yield from _apart(flat, scaled[0], factor * scaled[1])
    else:
        yield Part(place, factor)


def _scaled(flat: Flat, step: Step) -> tuple[int, float] | None:
    """What is scaled by a constant, and by how much."""
    one, other = step.reads
    number = _number(flat, other)
    if number is not None and (step.name == "mul" or number):
        return one, number if step.name == "mul" else 1 / number
    number = _number(flat, one)
    return (other, number) if number is not None and step.name == "mul" else None


def _number(flat: Flat, place: int) -> float | None:
    if place in flat.constants:
        return float(np.asarray(flat.constants[place]).ravel()[0])
    step = flat.made_by.get(place)
    return _number(flat, step.reads[0]) if step is not None and step.name in _SAME else None


def sum_of(flat: Flat, place: int) -> int:
    """How many numbers it is the sum of; 0 where it is none."""
    step = flat.made_by.get(place)
    if step is None or step.name in ("neg", *_SAME):
        return 0 if step is None else sum_of(flat, step.reads[0])
    if step.name != "reduce_sum":
        return 0
    return prod(flat.shapes[step.reads[0]].shape[axis] for axis in step.equation.params["axes"])


def mean_of(flat: Flat, place: int) -> int:
    """How many numbers it is the mean of; 0 where it is none."""
    step = flat.made_by.get(place)
    if step is None or step.name in ("neg", *_SAME):
        return 0 if step is None else mean_of(flat, step.reads[0])
    scaled = _scaled(flat, step) if step.name in ("mul", "div") else None
    count = 0 if scaled is None else sum_of(flat, scaled[0])
    return count if scaled is not None and count and np.isclose(scaled[1] * count, 1.0) else 0


def passed_by_all(flat: Flat, place: int, parameters: set[int]) -> list[int]:
    """The places through which all passes that this value has of the parameters, one after the other: what comes first
    are the outputs of a network whose weights have all been used. Whole numbers are none.
    """
    steps = [step for step in flat.behind([place]) if parameters.intersection(step.reads)]
    uses: dict[int, int] = {}
    for number, step in enumerate(steps):
        uses |= dict.fromkeys(parameters.intersection(step.reads), number)
    leaves = set(uses).difference(*(step.makes for step in steps))
    alive: set[int] = leaves
    found: list[int] = []
    for number, step in enumerate(steps):
        alive |= {one for one in step.makes if uses.get(one, -1) > number or one == place}
        alive = {one for one in alive if uses.get(one, -1) > number or one == place}
        if len(alive) == 1:
            (only,) = alive
            if not found or found[-1] != only:
                found.append(only)
    return [one for one in found if flat.shapes[one].dtype.kind == "f" or flat.shapes[one].dtype.name == "bfloat16"]
