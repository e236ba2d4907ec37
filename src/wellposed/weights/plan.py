"""Which layer gets which weights, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.activations import Activation
from wellposed.numerics.arrays import Vector
from wellposed.numerics.gaussian import Expectations, expectations
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace
from wellposed.weights.schemes import SCHEMES, generator, normal, orthogonal

_BOUNDED = {"sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign"}


@dataclass(frozen=True, slots=True)
class Row:
    """One layer of a plan: `target` and `achieved` are standard deviations of the weights."""

    layer: str
    rule: str
    target: float
    achieved: float
    why: str


@dataclass(frozen=True)
class Plan:
    """What `initialize` did, or would do: a row per layer, and what it left alone with the reason."""

    rows: tuple[Row, ...]
    left_alone: Mapping[str, str]
    values: Mapping[str, Vector] = field(repr=False)

    def __str__(self) -> str:
        width = max([len(row.layer) for row in self.rows] + [len(name) for name in self.left_alone] + [5])
        lines = [f"{'layer':<{width}}  {'rule':<10}  {'target':>9}  {'achieved':>9}  why"]
        lines += [f"{r.layer:<{width}}  {r.rule:<10}  {r.target:>9.4g}  {r.achieved:>9.4g}  {r.why}" for r in self.rows]
        lines += [f"{name:<{width}}  left alone: {reason}" for name, reason in self.left_alone.items()]
        return "\n".join(lines)


def plan_of(trace: Trace, weights: Mapping[str, Vector], scheme: str = "auto", seed: int = 0) -> Plan:
    """A plan for the sites of a trace; `weights` holds the trainable parameters as they are."""
    if scheme not in SCHEMES:
        raise InputError(f"there is no scheme {scheme!r}", hint=f"known: {', '.join(SCHEMES)}")
    if scheme == "auto":
        scheme = "centred" if any(site.function in _BOUNDED for site in trace.sites) else "he"
    rows: list[Row] = []
    left: dict[str, str] = {}
    values: dict[str, Vector] = {}
    for site in trace.sites:
        use = site.layer.weight
        if site.layer.kind == "recurrent":
            left[site.name] = "recurrent"
        elif use is None:
            left[site.name] = "its weight is computed from others"
        elif use.name not in weights:
            left[use.name] = "frozen"
        elif use.name in values:
            left.setdefault(use.name, "shared: initialised where it is used first")
        elif not weights[use.name].any():
            left[use.name] = "zero on purpose"
        else:
            row, weight, bias = _layer(site, weights, scheme, len(trace.sites), seed)
            rows.append(row)
            values[use.name] = weight
            if use.bias in weights:
                values[use.bias] = np.broadcast_to(bias, weights[use.bias].shape).copy()
    if not rows and not left:
        raise InputError("no Linear or Conv layer was seen, so there is nothing to initialise")
    return Plan(tuple(rows), left, values)


def _layer(site: Site, weights: Mapping[str, Vector], scheme: str, depth: int, seed: int) -> tuple[Row, Vector, Vector]:
    use = site.layer.weight
    assert use is not None
    deviation, why, centre = _target(site, scheme, depth)
    random = generator(seed, use.name)
    shape = weights[use.name].shape
    if scheme in ("orthogonal", "centred"):
        weight = orthogonal(shape, use.unit_axis, deviation, random)
    else:
        weight = normal(shape, deviation, random)
    row_sums = np.moveaxis(weight, use.unit_axis, 0).reshape(shape[use.unit_axis], -1).sum(axis=1)
    bias = -centre * row_sums if centre else np.zeros(shape[use.unit_axis])
    achieved = float(np.sqrt(np.mean(weight**2)))
    return Row(site.name, scheme, deviation, achieved, why), weight, bias


def _target(site: Site, scheme: str, depth: int) -> tuple[float, str, float]:
    """The standard deviation of the weights, the reason, and the mean of the input to be centred away."""
    use = site.layer.weight
    assert use is not None
    if scheme == "glorot":
        return (2 / (use.fan_in + use.fan_out)) ** 0.5, "2 / (fan_in + fan_out)", 0.0
    if scheme == "lecun":
        return use.fan_in**-0.5, "1 / fan_in", 0.0
    if scheme == "centred":
        return _centred(site, depth)
    at = _moments(site.activation)
    if at is None or site.is_output:
        return use.fan_in**-0.5, "no activation follows: 1 / fan_in", 0.0
    return (at.square * use.fan_in) ** -0.5, f"{site.function} follows: {1 / at.square:.4g} / fan_in", 0.0


def _centred(site: Site, depth: int) -> tuple[float, str, float]:
    """For bounded activations: keep the gradient, and stay where the activation is nearly a straight line.

    With sw^2 = 1 / E[phi'^2] the gradient keeps its size. A bias takes away the mean of the activation
    before, so that the signal's size follows Var[phi] <= q E[phi'^2] (the Gaussian Poincare inequality) and
    never grows; it starts at q = min(1, 3 / depth), which loses little over that depth.
    """
    use = site.layer.weight
    assert use is not None
    q = min(1.0, 3 / max(depth, 1))
    before = site.before.activation if site.before is not None else None
    if before is None:
        came = site.layer.source.mean_square if site.layer.source is not None and site.layer.source.mean_square > 0 else 1.0
        return (q / came / use.fan_in) ** 0.5, f"starts at q = {q:.3g} for depth {depth}", 0.0
    at = expectations(before, q)
    name = site.before.function if site.before is not None else ""
    centre = at.mean if abs(at.mean) > 1e-12 else 0.0
    why = f"{name} before it: {1 / at.slope_square:.4g} / fan_in" + (f", centred by {centre:.3g}" if centre else "")
    return (at.slope_square * use.fan_in) ** -0.5, why, centre


def _moments(activation: Activation | None) -> Expectations | None:
    if activation is None:
        return None
    at = expectations(activation)
    return at if np.isfinite(at.square) and at.square > 0 else None
