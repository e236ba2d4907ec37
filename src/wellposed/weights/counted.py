"""WP303: a layer whose weights follow the other layers' rule with another fan than its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from wellposed.backends.protocol import WeightUse
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.arrays import Vector
from wellposed.rules.weights import FAN
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_SIGMAS, _SAME = 4.0, 0.05
_SUSPECT, _FAILS = 2.0, 100.0
_FEWEST = 3


@dataclass(frozen=True)
class _Layer:
    """fan_in times the mean square of the weights, which a rule makes the same for all layers, and its relative error at 4 sigma."""

    site: Site
    use: WeightUse
    value: float
    error: float


def check_fans(trace: Trace, weights: dict[str, Vector]) -> Finding:
    layers = list(_layers(trace, weights))
    rule = _common(layers)
    if rule is None:
        return FAN.undecided("The layers that nothing rescales follow no common rule, so none can be held against the others'.")
    evidence = (Evidence("fan_in mean(W^2), most layers", rule, how=f"{len(layers)} layers"),)
    worst: tuple[float, _Layer, str, float] | None = None
    for layer in layers:
        factor = layer.value / rule
        away = abs(np.log(factor))
        if away - layer.error < np.log(_SUSPECT) or (worst is not None and away <= abs(np.log(worst[0]))):
            continue
        for what, fan in _mistaken(layer.use, weights[layer.use.name].shape):
            if abs(np.log(factor) - np.log(layer.use.fan_in / fan)) < _SAME + layer.error:
                worst = factor, layer, what, fan
                break
    if worst is None:
        return FAN.holds(evidence)
    factor, layer, what, fan = worst
    fails = abs(np.log(factor)) - layer.error > np.log(_FAILS)
    text = (
        f"The weights of `{layer.site.name}` ({layer.site.layer.function}) have {factor:.3g} of the variance that the other layers' "
        f"rule gives: {what}, {fan:g} instead of {layer.use.fan_in:g}."
    )
    found = Evidence("variance over that of the rule", factor, layer.use.name, reference="1", error=factor * layer.error)
    return FAN.found(Verdict.FAILS if fails else Verdict.SUSPECT, text, where=layer.site.name, cause="fan", evidence=(*evidence, found))


def _layers(trace: Trace, weights: dict[str, Vector]) -> Iterator[_Layer]:
    seen: set[str] = set()
    for site in trace.sites:
        use = site.layer.weight
        if use is None or use.name not in weights or use.name in seen or site.normalised:
            continue
        seen.add(use.name)
        squares = weights[use.name].ravel() ** 2
        mean = float(squares.mean())
        if mean > 0 and np.isfinite(mean):
            yield _Layer(site, use, use.fan_in * mean, _SIGMAS * float(squares.std()) / mean / squares.size**0.5)


def _common(layers: list[_Layer]) -> float | None:
    """What most of the layers share; None where fewer than half do, or there are too few."""
    if len(layers) < _FEWEST + 1:
        return None
    logs = np.log([layer.value for layer in layers])
    middle = float(np.median(logs))
    near = [abs(log - middle) < _SAME + layer.error for log, layer in zip(logs, layers, strict=True)]
    return float(np.exp(middle)) if sum(near) >= max(_FEWEST, len(layers) / 2) else None


def _mistaken(use: WeightUse, shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    """What may have been counted in place of fan_in, and how much that is."""
    kernel = prod(shape[2:]) if len(shape) > 2 and use.out_axes in ((0,), (1,)) else 1
    out = prod(shape[axis] for axis in use.out_axes)
    yield "the fan was counted on the wrong side", float(out * kernel)
    yield "the fan was counted on the wrong side", use.fan_out
    if kernel > 1:
        yield "the kernel was left out", use.fan_in / kernel
        yield "the groups or the stride were left out", use.fan_in * out * kernel / use.fan_out
    yield "the variance was taken for the standard deviation", use.fan_in**2
