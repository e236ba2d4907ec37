"""WP303: a layer whose weights follow the other layers' rule with another fan than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from wellposed.backends.measured import WeightUse
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.weight import Weight
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace
from wellposed.weights.orthogonality import orthogonal
from wellposed.weights.rules.words import GLOROT, HE

_SIGMAS, _ONE_RULE = 4.0, 0.05
_SUSPECT, _ALONE, _FAILS = 2.0, 10.0, 100.0
_FEWEST = 3


FAN = Rule(
    id="WP303",
    subject="weights",
    priority=130,
    title="wrong fan",
    claim="Layers that follow a common rule count their own inputs in it.",
    judged=(
        "fan_in mean(W^2) is the same number for all layers that a rule such as He's, Glorot's or PyTorch's default"
        " draws. Where most layers that no normalisation rescales share it, a layer off by more than a factor"
        f" {_SUSPECT:g} is suspect, and by more than {_FAILS:g} fails, if a miscounted fan explains the factor within"
        f" {100 * _ONE_RULE:g} %: the outputs for the inputs, a kernel, groups or stride left out, the variance taken"
        f" for the standard deviation. A layer off by more than {_ALONE:g} without such a reason is suspect. What more"
        f" than a tenth of the layers share is taken for meant. The sampling error of mean(W^2) at {_SIGMAS:g} sigma is"
        " taken off."
    ),
    causes=(
        Cause(
            "fan",
            "The number of inputs per output was miscounted; PyTorch itself counts that of transposed convolutions on"
            " the wrong side.",
            "wp.fan(layer).fan_in",
            (INITIALIZE,),
        ),
        Cause(
            "alone",
            "The layer was drawn by another rule than the others: a constant, or a layer that was forgotten.",
            "Print weight.std() * wp.fan(layer).fan_in ** 0.5 for this layer and its neighbours.",
            (INITIALIZE,),
        ),
    ),
    references=(HE, GLOROT, "pytorch issue 23854"),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_fans(measured.trace, measured.weights),
    treatment="initialize",
)


@dataclass(frozen=True)
class _Layer:
    """fan_in times the mean square of the weights, which a rule makes the same for all layers, and its relative error
    at `_SIGMAS`.
    """

    site: Site
    use: WeightUse
    value: float
    error: float


def check_fans(trace: Trace, weights: Mapping[str, Weight]) -> Finding:
    layers = list(_layers(trace, weights))
    rule = _common(layers)
    if rule is None:
        return FAN.not_applicable(
            "The layers that nothing rescales follow no common rule, so none can be held against the others'."
        )
    evidence = (Evidence("fan_in mean(W^2), most layers", rule, how=f"{len(layers)} layers"),)
    factors = [layer.value / rule for layer in layers]
    worst: tuple[float, _Layer, str, float] | None = None
    for layer, factor in zip(layers, factors, strict=True):
        away = abs(np.log(factor)) - layer.error
        if (
            away < np.log(_SUSPECT)
            or (worst is not None and away <= abs(np.log(worst[0])))
            or not _rare(layer, factor, factors)
        ):
            continue
        if orthogonal(weights[layer.use.name].numbers, layer.use):
            continue
        what, fan = _explained(layer, factor, weights[layer.use.name].shape, rule)
        if what or (away > np.log(_ALONE) and layer.site.layer.inputs and layer.site.follower == "activation"):
            worst = factor, layer, what, fan
    if worst is None:
        return FAN.holds(evidence)
    factor, layer, what, fan = worst
    fails = bool(what) and abs(np.log(factor)) - layer.error > np.log(_FAILS)
    counted = f"{what}, {fan:.4g} instead of {layer.use.nominal:.4g}" if what else "no miscounted fan explains it"
    text = (
        f"The weights of `{layer.site.name}` ({layer.site.layer.function}) have {factor:.3g} of the variance that the"
        f" other layers' rule gives: {counted}."
    )
    found = Evidence(
        "variance over that of the rule", factor, layer.use.name, reference="1", error=factor * layer.error
    )
    verdict = Verdict.FAILS if fails else Verdict.SUSPECT
    return FAN.found(
        verdict, text, where=layer.site.name, cause="fan" if what else "alone", evidence=(*evidence, found)
    )


def _rare(layer: _Layer, factor: float, factors: list[float]) -> bool:
    """Whether few layers are off as this one is: what many share is meant, as in residual branches. Transposed ones may
    be many.
    """
    same = sum(abs(np.log(other / factor)) < _ONE_RULE + layer.error for other in factors)
    return "transpose" in layer.site.layer.function or same <= max(1, len(factors) / 10)


def _explained(layer: _Layer, factor: float, shape: tuple[int, ...], rule: float) -> tuple[str, float]:
    """The mistake that makes the factor, and what it takes for fan_in; "" where none does."""
    for what, fan in _mistaken(layer.use, shape, rule):
        if abs(np.log(factor) - np.log(layer.use.nominal / fan)) < _ONE_RULE + layer.error:
            return what, fan
    return "", 0.0


def _sized(site: Site) -> bool:
    """Whether the layer's own size matters to what follows: not before a sum or a normalisation."""
    return site.follower in ("activation", "linear", "conv") or "transpose" in site.layer.function


def _layers(trace: Trace, weights: Mapping[str, Weight]) -> Iterator[_Layer]:
    seen: set[str] = set()
    for site in trace.sites:
        use = site.layer.weight
        if use is None or use.name not in weights or use.name in seen or site.normalised or not _sized(site):
            continue
        seen.add(use.name)
        square, error = weights[use.name].mean_square
        if square > 0 and np.isfinite(square):
            yield _Layer(site, use, use.nominal * square, _SIGMAS * error)


def _common(layers: list[_Layer]) -> float | None:
    """What most of the layers share; None where fewer than half do, or there are too few."""
    if len(layers) < _FEWEST + 1:
        return None
    logs = np.log([layer.value for layer in layers])
    middle = float(np.median(logs))
    near = [abs(log - middle) < _ONE_RULE + layer.error for log, layer in zip(logs, layers, strict=True)]
    return float(np.exp(middle)) if sum(near) >= max(_FEWEST, len(layers) / 2) else None


def _mistaken(use: WeightUse, shape: tuple[int, ...], rule: float) -> Iterator[tuple[str, float]]:
    """What may have been counted in place of fan_in, and how much that is."""
    kernel = prod(shape[2:]) if len(shape) > 2 and use.out_axes in ((0,), (1,)) else 1
    out = prod(shape[axis] for axis in use.out_axes)
    yield "the fan was counted on the wrong side", float(out * kernel)
    yield "the fan was counted on the wrong side", use.fan_out
    if kernel > 1:
        yield "the kernel was left out", use.nominal / kernel
        if use.out_axes == (1,):
            yield "the stride was left out", float(prod(shape[axis] for axis in use.in_axes))
        else:
            yield "the groups were left out", use.nominal * out * kernel / use.fan_out
    yield "the deviation was set to what should be the variance", use.nominal**2 / rule
    yield "the deviation was set to 1 / n", use.nominal**2 * rule
