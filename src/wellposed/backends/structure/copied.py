"""Whether what is asked for is among what is given: targets that equal numbers of the input in every example."""

from __future__ import annotations

import numpy as np

from wellposed.backends.structure.asked import Asked, asked_of
from wellposed.backends.structure.derivative import INDEPENDENT, derivative_of
from wellposed.backends.structure.program import Program
from wellposed.backends.structure.shown import Copied
from wellposed.numerics.arrays import Array

_FEWEST_EXAMPLES, _FEWEST_VALUES = 8, 6  # that two columns must agree in, and different numbers among them
_CLOSE = 1e-4  # of a column's spread, as targets that are read off a float32 gradient are
_MOST_NUMBERS = 4096  # of an example's targets
_MULTIPLE = 0.05  # relative: of one derivative, taken by differences, and another


def copied_of(program: Program) -> Copied | None:
    """None where targets are no real numbers, or are not found among the inputs."""
    for asked in asked_of(program)[:1]:
        wanted = _targets(program, asked)
        if wanted is None or len(wanted) < _FEWEST_EXAMPLES or not 0 < wanted.shape[1] <= _MOST_NUMBERS:
            continue
        if not _tell(wanted).all():
            continue
        for name, leaf in program.inputs.items():
            if leaf.dtype.kind == "f" and leaf.ndim and len(leaf) == len(wanted):
                places = _places(wanted, leaf.reshape(len(leaf), -1))
                if places is not None:
                    return Copied(name, len(places), _free(program, asked, name, places))
    return None


def _targets(program: Program, asked: Asked) -> Array | None:
    """[examples, numbers], those that are asked for in all examples."""
    pulled = asked.pulled_to
    if pulled is not None and len(pulled[0]):
        targets, known = (one.reshape(len(one), -1) for one in pulled)
        return targets[:, known.all(0)]
    for given in program.targets.values():
        if given.dtype.kind == "f" and given.shape == asked.outputs.shape and given.ndim:
            return given.reshape(len(given), -1)
    return None


def _tell(columns: Array) -> Array:
    """Which of them are of many numbers, that do not agree with others by chance."""
    changes: Array = np.diff(np.sort(columns, axis=0), axis=0) != 0
    return np.asarray(changes.sum(0) + 1 >= _FEWEST_VALUES)


def _places(wanted: Array, given: Array) -> Array | None:
    """For each number of the targets the one of the inputs that equals it in all examples; None where one has none."""
    close = _CLOSE * wanted.std(0)
    places = []
    for one in range(wanted.shape[1]):
        near = np.flatnonzero(np.abs(given[0] - wanted[0, one]) <= close[one])
        same = [place for place in near if (np.abs(given[:, place] - wanted[:, one]) <= close[one]).all()]
        if len(same) != 1:  # of several, as in periods, none is meant
            return None
        places.append(same[0])
    return np.array(places)


def _free(program: Program, asked: Asked, name: str, places: Array) -> float:
    """How many of these numbers of one example reach the outputs independently of each other, as a share: the rank of
    the derivative. NaN where that takes too many passes, or random numbers are drawn.
    """
    if program.draws:
        return float("nan")
    own = derivative_of(program, asked.place, name, places)
    if own is None or not own.any():
        return float("nan") if own is None else 0.0
    for other, array in program.inputs.items():
        if other != name and array.dtype.kind == "f" and array.shape == program.inputs[name].shape:
            mixed = derivative_of(program, asked.place, other, places)
            if mixed is None or _multiple(mixed, own):
                return 0.0  # the model sees a mixture of both alone: neither can be read off
    if own.shape[0] == own.shape[1] and (np.abs(np.diag(own)) <= INDEPENDENT * np.abs(own).max()).any():
        return 0.0  # a number is made of the others, and not of itself
    singular = np.linalg.svd(own, compute_uv=False)
    return float((singular > INDEPENDENT * singular[0]).sum()) / len(places)


def _multiple(one: Array, other: Array) -> bool:
    factor = float((one * other).sum() / np.square(other).sum())
    return bool(factor) and float(np.linalg.norm(one - factor * other)) < _MULTIPLE * float(np.linalg.norm(one))
