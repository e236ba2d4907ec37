"""Which parameter gets which values, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wellposed.backends.initializable import Initializable, Parameter
from wellposed.backends.measured import Run
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.signals.trace import trace_of
from wellposed.weights.draw import Maps, generator
from wellposed.weights.left_alone import reasons, without_values
from wellposed.weights.network import Network
from wellposed.weights.recipe import Recipe
from wellposed.weights.roles import recipe_by_role, vector_by_role
from wellposed.weights.schemes import SCHEMES


@dataclass(frozen=True, slots=True)
class Row:
    """One weight of a plan: the standard deviation aimed at and had, the root mean square of what it makes aimed at and
    had.

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

    `rows`: a row per weight that is drawn. `left_alone`: what was found frozen, trained, zero on purpose or of unknown
    use, with the reason. `kept`: parameters that are as they should be already. `values`: the new values by name,
    `biases`: the bias of each weight. Every parameter is in `values`, `left_alone` or `kept`. `params`: the new
    parameters of a JAX model, in a pytree as the one given; of others what was given, which was changed in place.
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
            lines.append(
                f"{row.layer:<{width}}  {row.rule:<12}  {row.target:>9.4g}  {row.achieved:>9.4g}  {sizes}  {row.why}"
            )
        lines += [f"{name:<{width}}  left alone: {reason}" for name, reason in self.left_alone.items()]
        return "\n".join(lines)


def _number(size: float | None) -> str:
    return "" if size is None else f"{size:.4g}"


def initialize_weights(subject: Initializable, scheme: str, seed: int, *, dry_run: bool) -> Plan:
    """Plans, and unless it is a dry run sets the values: then the sizes of outputs are fitted in one pass over the
    batch.
    """
    if not isinstance(scheme, str) or scheme not in SCHEMES:
        raise InputError(f"there is no scheme {scheme!r}", hint=f"known: {', '.join(SCHEMES)}")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be a whole number from 0 on, not {seed!r}")
    fresh = set() if dry_run else subject.materialize()
    before = subject.weights()
    unset = fresh | without_values(before)
    try:
        subject.assign({name: np.zeros_like(before[name]) for name in unset})
        run = subject.run()
        _demand_finite(run)
        parameters = {parameter.name: parameter for parameter in subject.parameters()}
        unset = {name for name in unset if parameters[name].trainable or name in fresh}
        sizes = {name: _size(value) for name, value in before.items() if value.size and name not in unset}
        plan, targets = _planned(Network(trace_of(run), parameters, sizes), before, scheme, seed, unset)
        _demand_all(fresh, plan)
        # A forward pass may change what it reads, as an embedding with max_norm does.
        subject.assign({name: value for name, value in before.items() if dry_run or name not in plan.values})
        if dry_run:
            return replace(plan, params=subject.params())
        subject.assign(plan.values)
        plan = _fitted(subject, plan, targets)
        subject.assign({name: before[name] for name in plan.left_alone})
        return replace(plan, params=subject.params())
    except BaseException:
        subject.assign(before)
        raise


def _demand_finite(run: Run) -> None:
    for operation in run.operations:
        if not operation.inputs and operation.source is not None and not operation.source.finite:
            raise InputError(
                f"what `{operation.name}` reads of the batch holds NaN or infinity, so no size can be fitted",
                hint="wp.check_inputs(inputs) says where",
            )


def _demand_all(fresh: set[str], plan: Plan) -> None:
    """What had no memory must have got a value."""
    for name in sorted(fresh - plan.values.keys()):
        raise InputError(
            f"parameter {name!r} was on the meta device, and what it should hold is not known:"
            f" {plan.left_alone.get(name, 'no rule')}",
            hint="set it after model.to_empty(device=...), or build the model on the device",
        )


def _planned(
    network: Network, before: Mapping[str, Vector], scheme: str, seed: int, unset: set[str]
) -> tuple[Plan, dict[str, float]]:
    rows: list[Row] = []
    kept: dict[str, str] = {}
    values: dict[str, Vector] = {}
    biases: dict[str, str] = {}
    targets: dict[str, float] = {}
    used = [name for name in network.sites if name in network.parameters]
    recipes: dict[str, Recipe] = {}
    for name in used + [name for name in network.parameters if name not in network.sites]:
        recipe = recipe_by_role(network, network.parameters[name]) or (
            SCHEMES[scheme](network, network.sites[name]) if name in used else None
        )
        if recipe is not None:
            recipes[name] = recipe
    if not recipes:
        hint = "x.dot(w) of a NumPy array cannot be seen, x @ w can" if network.parameters else ""
        raise InputError(
            "no Linear, Conv or other layer with weights was seen at work, so there is nothing to initialise", hint=hint
        )
    maps = {name: _maps(network, network.parameters[name]) for name in recipes}
    left = reasons(network, before, maps, unset)
    for name, recipe in recipes.items():
        if name in left:
            continue
        parameter = network.parameters[name]
        weight = _drawn(recipe, maps[name], seed, name, parameter)
        site = network.sites.get(name)
        bias = site.layer.weight.bias if site is not None and site.layer.weight is not None else ""
        output, why = recipe.output, recipe.why
        if bias in before and (not network.parameters[bias].trainable or bias in values):
            whose = "is shared" if bias in values else "is frozen"
            bias, output, why = "", None, f"{why}; its bias {whose}, so its output is not fitted"
        rows.append(Row(_layer(network, parameter), recipe.rule, recipe.size, _size(weight), why, name, output))
        values[name] = weight
        if bias in before:
            sums = maps[name].fold(weight).sum(axis=2).reshape(-1)
            centred = sums if sums.size == before[bias].size else np.zeros(before[bias].size)
            values[bias] = (-recipe.centre * centred).reshape(before[bias].shape)
            if recipe.spread:
                values[bias] += recipe.spread * generator(seed, bias).standard_normal(before[bias].shape)
            biases[name] = bias
        if output is not None and name in used:
            targets[name] = output
    computed = {
        site.name for site in network.trace.sites if site.layer.weight is None and site.layer.kind != "recurrent"
    }
    for name, parameter in network.parameters.items():
        if name in values or name in left:
            continue
        _rest(parameter, left, kept, values, computed, unset=name in unset)
    return Plan(tuple(rows), left, values, kept, biases, scheme=scheme), targets


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
    siblings = [one for one in left if one.rpartition(".")[0] == parameter.layer and one not in ("", name)]
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
    if not targets or not subject.shown:
        return plan
    factors = subject.calibrate(targets)
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
