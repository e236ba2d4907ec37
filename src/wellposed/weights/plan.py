"""Which parameter gets which values, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wellposed.backends.protocol import Initializable, Parameter
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.signals.trace import trace_of
from wellposed.weights.draw import Maps, generator
from wellposed.weights.network import Network
from wellposed.weights.pretrained import trained
from wellposed.weights.recipe import Recipe
from wellposed.weights.roles import recipe_by_role, vector_by_role
from wellposed.weights.schemes import SCHEMES


@dataclass(frozen=True, slots=True)
class Row:
    """One weight of a plan: the standard deviation aimed at and had, the root mean square of what it makes aimed at and had.

    `output` is None where a normalisation behind makes it arbitrary, `reached` where no batch was there to measure it.
    """

    layer: str
    rule: str
    target: float
    achieved: float
    why: str
    parameter: str
    output: float | None = None
    reached: float | None = None


@dataclass(frozen=True)
class Plan:
    """What `initialize` did, or would do.

    `rows`: a row per weight that is drawn. `left_alone`: what was found frozen, trained, zero on purpose or of unknown use, with the
    reason. `kept`: parameters that are as they should be already. `values`: the new values by name, `biases`: the bias of each weight.
    Every parameter is in `values`, `left_alone` or `kept`. `params`: the new parameters of a JAX model, in a pytree as the one given; of
    others what was given, which was changed in place.
    """

    rows: tuple[Row, ...]
    left_alone: Mapping[str, str]
    values: Mapping[str, Vector] = field(repr=False)
    kept: Mapping[str, str] = field(default_factory=dict)
    biases: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Any = field(default=None, repr=False)
    scheme: str = "auto"

    def __str__(self) -> str:
        width = max([len(row.layer) for row in self.rows] + [len(name) for name in self.left_alone] + [5])
        head = f"{'layer':<{width}}  {'rule':<12}  {'target':>9}  {'achieved':>9}  {'output':>8}  {'reached':>8}  why"
        lines = [head]
        for row in self.rows:
            sizes = "  ".join(f"{_number(size):>8}" for size in (row.output, row.reached))
            lines.append(f"{row.layer:<{width}}  {row.rule:<12}  {row.target:>9.4g}  {row.achieved:>9.4g}  {sizes}  {row.why}")
        lines += [f"{name:<{width}}  left alone: {reason}" for name, reason in self.left_alone.items()]
        return "\n".join(lines)


def _number(size: float | None) -> str:
    return "" if size is None else f"{size:.4g}"


def initialized(subject: Initializable, scheme: str, seed: int, *, dry_run: bool) -> Plan:
    """Plans, and unless it is a dry run sets the values: then the sizes of outputs are fitted in one pass over the batch."""
    if scheme not in SCHEMES:
        raise InputError(f"there is no scheme {scheme!r}", hint=f"known: {', '.join(SCHEMES)}")
    blank = not dry_run and subject.materialize()
    before = subject.weights()
    parameters = {parameter.name: parameter for parameter in subject.parameters()}
    unset = blank or _unset(before, parameters)
    try:
        if unset:
            subject.assign({name: np.zeros_like(value) for name, value in before.items() if blank or not np.isfinite(value).all()})
        sizes = {} if unset else {name: _size(value) for name, value in before.items() if value.size}
        plan, targets = _planned(Network(trace_of(subject.run()), parameters, sizes), before, scheme, seed, unset=unset)
        if dry_run:
            if unset:
                subject.assign(before)
            return plan
        subject.assign(plan.values)
        return replace(_fitted(subject, plan, targets), params=subject.params())
    except BaseException:
        subject.assign(before)
        raise


def _unset(values: Mapping[str, Vector], parameters: Mapping[str, Parameter]) -> bool:
    """Whether the model was given memory and no values yet: nearly all of its matrices are zero, or something is not finite."""
    matrices = [values[name] for name, parameter in parameters.items() if len(parameter.shape) > 1]
    finite = all(np.isfinite(value).all() for value in values.values())
    return not finite or (len(matrices) > 2 and sum(not matrix.any() for matrix in matrices) > 0.9 * len(matrices))


def _planned(network: Network, before: Mapping[str, Vector], scheme: str, seed: int, *, unset: bool) -> tuple[Plan, dict[str, float]]:
    rows: list[Row] = []
    left: dict[str, str] = {}
    kept: dict[str, str] = {}
    values: dict[str, Vector] = {}
    biases: dict[str, str] = {}
    targets: dict[str, float] = {}
    used = [name for name in network.sites if name in network.parameters]
    order = used + [name for name in network.parameters if name not in network.sites]
    for name in order:
        parameter, value = network.parameters[name], before[name]
        recipe = recipe_by_role(network, parameter) or (SCHEMES[scheme](network, network.sites[name]) if name in used else None)
        if recipe is None:
            continue
        maps = _maps(network, parameter)
        reason = _reason(parameter, value, maps, unset=unset)
        if reason:
            left[name] = reason
            continue
        weight = _drawn(recipe, maps, seed, name, parameter)
        rows.append(Row(_layer(network, parameter), recipe.rule, recipe.size, _size(weight), recipe.why, name, recipe.output))
        values[name] = weight
        site = network.sites.get(name)
        bias = site.layer.weight.bias if site is not None and site.layer.weight is not None else ""
        if bias in before and network.parameters[bias].trainable:
            sums = maps.fold(weight).sum(axis=2).reshape(-1)
            centred = sums if sums.size == before[bias].size else np.zeros(before[bias].size)
            values[bias] = (-recipe.centre * centred).reshape(before[bias].shape)
            if recipe.spread:
                values[bias] += recipe.spread * generator(seed, bias).standard_normal(before[bias].shape)
            biases[name] = bias
        if recipe.output is not None and name in used:
            targets[name] = recipe.output
    computed = {site.name for site in network.trace.sites if site.layer.weight is None and site.layer.kind != "recurrent"}
    for name, parameter in network.parameters.items():
        if name in values or name in left:
            continue
        _rest(parameter, left, kept, values, computed, unset=unset)
    if not rows and not left:
        raise InputError("no Linear, Conv or other layer with weights was seen, so there is nothing to initialise")
    return Plan(tuple(rows), left, values, kept, biases, scheme), targets


def _rest(
    parameter: Parameter,
    left: dict[str, str],
    kept: dict[str, str],
    values: dict[str, Vector],
    computed: set[str],
    *,
    unset: bool,
) -> None:
    """A parameter that no rule for weights covers."""
    name = parameter.name
    if not parameter.trainable:
        left[name] = "frozen"
        return
    siblings = [one for one in left if one.rpartition(".")[0] == parameter.layer]
    if parameter.role in ("bias", "gate bias") and siblings:
        left[name] = f"as its weight: {left[siblings[0]]}"
        return
    vector = vector_by_role(parameter)
    if vector is None:
        of = next((layer for layer in computed if name.startswith(f"{layer}.")), None)
        left[name] = "its weight is computed from others" if of is not None else "its use is not known"
    elif parameter.role in ("scale", "shift") and not unset:
        kept[name] = "of a normalisation"
    else:
        values[name] = vector


def _maps(network: Network, parameter: Parameter) -> Maps:
    site = network.sites.get(parameter.name)
    use = site.layer.weight if site is not None else None
    if use is not None:
        return Maps(parameter.shape, use.out_axes, use.in_axes)
    if parameter.role == "embedding":
        return Maps(parameter.shape, (1,), (0,))
    return Maps(parameter.shape, (0,), tuple(range(1, len(parameter.shape))))


def _reason(parameter: Parameter, value: Vector, maps: Maps, *, unset: bool) -> str:
    """Why a weight is left as it is; "" where it is not."""
    if not parameter.trainable:
        return "frozen"
    if unset:
        return ""
    if not value.any():
        return "zero on purpose"
    return "trained: its singular values stand out" if trained(maps.fold(value)) else ""


def _drawn(recipe: Recipe, maps: Maps, seed: int, name: str, parameter: Parameter) -> Vector:
    beside, out, into = maps.sizes
    sizes = (beside * parameter.gates, out // parameter.gates, into)
    weight = maps.unfold(recipe.draw(sizes, generator(seed, name)).reshape(beside, out, into) * recipe.size)
    if parameter.padding is not None:
        weight[parameter.padding] = 0.0
    return weight


def _size(weight: Vector) -> float:
    return float(np.sqrt(np.mean(weight**2)))


def _layer(network: Network, parameter: Parameter) -> str:
    site = network.sites.get(parameter.name)
    return site.name if site is not None else parameter.name


def _fitted(subject: Initializable, plan: Plan, targets: Mapping[str, float]) -> Plan:
    """The plan with each weight scaled by the factor that its output asked for."""
    factors = subject.calibrate(targets)
    if not factors:
        return plan
    values = dict(plan.values)
    rows = []
    for row in plan.rows:
        if row.parameter not in factors:
            silent = row.parameter in targets
            rows.append(replace(row, output=None, why=f"{row.why}; nothing arrived, so not fitted") if silent else row)
            continue
        factor, reached = factors[row.parameter]
        values[row.parameter] = plan.values[row.parameter] * factor
        bias = plan.biases.get(row.parameter)
        if bias is not None:
            values[bias] = plan.values[bias] * factor
        rows.append(replace(row, achieved=_size(values[row.parameter]), reached=reached))
    subject.assign(values)
    return replace(plan, rows=tuple(rows), values=values)
