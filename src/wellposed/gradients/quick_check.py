"""A quick look at a gradient: a few directions through all tensors at once, by as few evaluations as show it to be
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wellposed.gradients.probe import Probe
from wellposed.gradients.prober import Prober
from wellposed.users_code import ask

VISIBLE = 0.01
"""The relative error of a tensor's gradient that is to be seen."""
_HARDLY = 1e-3  # chance
_CONTRADICTED_RATIO = 10.0  # times what is allowed
_MOST_DIRECTIONS = 6  # directions
_BAR = 100.0  # times its rounding is the bar of a difference over a tenth of a tensor's size


@dataclass(frozen=True)
class Glances:
    """What was seen along each direction, and for each tensor the chance that an error of 1 % was missed and the least
    error that every direction could see. `kink`: the probe that met one, where the gradient was looked at a little
    beside the point instead. `contradicted`: the last direction disagrees, clearly beyond its bar and the loss's
    rounding.
    """

    probes: list[Probe]
    misses: dict[str, float]
    floors: dict[str, float]
    kink: Probe | None = None
    contradicted: bool = False


def look_quickly(prober: Prober, uncut: Prober) -> Glances | None:
    """Nothing where they do not show the gradient to be right: then it is to be looked at closely. `uncut` measures
    along tensors without a gradient.

    At a kink a right gradient may be anything between the slopes of its sides: then the point beside it is looked at.
    """
    found, kink = _looked(prober, uncut)
    if kink is None:
        return found
    beside = ask(prober.nearby, None, ours=False)  # the loss need not be defined there
    beside_uncut = beside if uncut is prober else ask(uncut.nearby, None, ours=False)
    if beside is None or beside_uncut is None:
        return None
    found = (
        _looked(beside, beside_uncut)[0] if np.isfinite(beside.value) and np.isfinite(beside.gradient).all() else None
    )
    return None if found is None else replace(found, kink=kink)


def chance(allowed: float, error: float) -> float:
    """The probability that a normal variable of standard deviation `error` stays within `allowed`: at most sqrt(2 / pi)
    allowed / error.
    """
    return min(1.0, float(np.sqrt(2 / np.pi)) * allowed / error) if error else 1.0


def _looked(prober: Prober, uncut: Prober) -> tuple[Glances | None, Probe | None]:
    """Directions are independent, and so are their chances to miss."""
    places = prober.problem.layout.slices
    names = [name for name, place in places.items() if place.start < place.stop]
    left = [
        name for name in names if prober.gradient[places[name]].any() and not (prober.exact and _faint(prober, name))
    ]
    silent = [name for name in names if name not in left]
    if silent and not prober.exact:  # what matters little may hide in the loss's rounding
        return None, None
    probes: list[Probe] = []
    misses, floors = dict.fromkeys(left, 1.0), dict.fromkeys(left, np.inf)
    most = 0.0
    while left and len(probes) < _MOST_DIRECTIONS:
        probe, shares = _through(prober, left)
        most = max(shares.values())
        if probe.slope.kink:
            return None, probe
        probes.append(probe)
        if probe.smooth and prober.exact and abs(probe.residual) > _CONTRADICTED_RATIO * probe.allowed:
            return Glances(probes, {}, {}, contradicted=True), None
        if not probe.smooth or not probe.agrees:
            return None, None
        misses |= {name: misses[name] * chance(probe.allowed, VISIBLE * share) for name, share in shares.items()}
        floors |= {
            name: min(floors[name], probe.allowed / share if share else np.inf) for name, share in shares.items()
        }
        left = [name for name in left if misses[name] > _HARDLY]
    if left or not probes:
        return None, None
    if silent:
        floor = _silence(uncut, silent, VISIBLE * most)
        if floor is None:
            return None, None
        floors |= {name: floor / weight for name in silent if (weight := prober.directions.weights[name])}
    return Glances(probes, misses, floors), None


def _through(prober: Prober, names: Sequence[str]) -> tuple[Probe, dict[str, float]]:
    """A probe through these tensors, and what each contributes to the slope; the direction, as large as the model, is
    let go of.
    """
    u, shares = prober.directions.balanced(names)
    return prober.glanced(u, np.sqrt(_HARDLY) * VISIBLE * max(shares.values()) / 4), shares


def _silence(prober: Prober, names: Sequence[str], visible: float) -> float | None:
    """What the loss changes by at most along tensors that are to leave it as it is; None where it changes, or that
    cannot be seen.
    """
    probe = prober.glanced(prober.directions.jointly(names), visible / 4)
    return probe.allowed if probe.smooth and probe.agrees and probe.allowed <= visible else None


def _faint(prober: Prober, name: str) -> bool:
    """Whether moving the tensor by its own size changes the loss by so little that no difference shows 1 % of that
    above the loss's rounding, as it does before a normalisation that takes the change away.
    """
    return prober.directions.weights[name] < _BAR * prober.eps * abs(prober.value) / VISIBLE
