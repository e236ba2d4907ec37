"""The entry of a failing tensor that is most wrong, in far fewer evaluations than entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wellposed.gradients.prober import Prober
from wellposed.numerics.arrays import Vector

_SMALL = 32
_BUDGET = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of theta: the claimed and the measured derivative, and the bar of the latter."""

    flat: int
    claimed: float
    measured: float
    error: float


def worst_entry(prober: Prober, place: slice) -> Entry | None:
    """The entry, among those measured, that differs most from its claim; `flat` counts within the tensor.

    A tensor of up to 32 entries is measured whole. In a larger one the candidates are: where
    bisection ends that follows the half with the larger residual along a random direction (exact for a single wrong entry), and the entries
    of largest claim. None where no entry measured differs by more than its bar.
    """
    size = place.stop - place.start
    if size <= _SMALL:
        candidates = list(range(size))
    else:
        largest = np.argsort(-np.abs(prober.gradient[place]))[: _BUDGET - 1]
        candidates = list(dict.fromkeys([_bisect(prober, place), *map(int, largest)]))
    found = [entry for entry in (_measure(prober, place, flat) for flat in candidates) if entry is not None]
    return max(found, key=lambda entry: abs(entry.claimed - entry.measured), default=None)


def _measure(prober: Prober, place: slice, flat: int) -> Entry | None:
    u = np.zeros_like(prober.gradient)
    u[place.start + flat] = 1.0
    probe = prober.probe(u)
    if not probe.known or probe.agrees:
        return None
    return Entry(flat, probe.claimed, probe.measured, probe.error)


def _bisect(prober: Prober, place: slice) -> int:
    """Halve the tensor towards the larger residual; the other half's follows by subtraction, as it is linear."""
    u = prober.directions.random_direction(place)
    low, high = place.start, place.stop
    whole = prober.probe(u).residual
    while high - low > 1:
        middle = (low + high) // 2
        left = _residual(prober, u, low, middle)
        right = whole - left
        if abs(left) >= abs(right):
            high, whole = middle, left
        else:
            low, whole = middle, right
    return int(low - place.start)


def _residual(prober: Prober, u: Vector, low: int, high: int) -> float:
    part = np.zeros_like(u)
    part[low:high] = u[low:high]
    length = float(np.linalg.norm(part))
    return prober.probe(part / length).residual * length if length else 0.0
