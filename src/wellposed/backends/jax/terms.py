"""The terms of a JAX loss: what each adds to it and to its gradient."""

from __future__ import annotations

from math import nan
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.jax.ends import Part, mean_of, sum_of
from wellposed.backends.jax.lines import line_of
from wellposed.backends.jax.program import JaxProgram
from wellposed.backends.structure.shown import Term
from wellposed.numerics.arrays import Vector


def terms_of(program: JaxProgram, moved: list[Any]) -> list[Term]:
    """`moved` are the parameters at another point. Empty where the loss is one term."""
    parts = program.parts
    if len(parts) < 2:
        return []
    here, there = _values(program, program.parameter_values), _values(program, moved)
    carry = program.flat.reached(program.flat.inputs[: len(moved)], with_gradient=True)
    kept = [part for part in parts if part.place in carry]
    slopes = dict(zip(kept, _slopes(program, kept), strict=True))
    whole = np.sum(list(slopes.values()), axis=0)
    return [
        _term(program, part, value, abs(after - value), slopes.get(part), whole, meant=_meant(program, part, kept))
        for part, value, after in zip(parts, here, there, strict=True)
    ]


def _values(program: JaxProgram, parameters: list[Any]) -> list[float]:
    known = {**program.known, **dict(zip(program.flat.inputs, parameters, strict=False))}
    values = program.flat.evaluate(known, [part.place for part in program.parts])
    return [part.factor * float(np.sum(value)) for part, value in zip(program.parts, values, strict=True)]


def _slopes(program: JaxProgram, parts: list[Part]) -> list[Vector]:
    """The gradient of each, all parameters in one vector."""

    def stacked(parameters: list[Any]) -> Any:
        known = {**program.known, **dict(zip(program.flat.inputs, parameters, strict=False))}
        values = program.flat.evaluate(known, [part.place for part in parts])
        return jnp.stack([part.factor * jnp.sum(value) for part, value in zip(parts, values, strict=True)])

    if not parts:
        return []
    values, pull = jax.vjp(stacked, program.parameter_values)
    found = []
    for one in np.eye(len(parts)):  # one after the other: all at once would be other operations, to be compiled anew
        (each,) = pull(jnp.asarray(one, values.dtype))
        found.append(np.concatenate([np.asarray(slope, dtype=np.float64).ravel() for slope in each]))
    return found


def _term(
    program: JaxProgram,
    part: Part,
    value: float,
    moves: float,
    slope: Vector | None,
    whole: Vector,
    *,
    meant: bool,
) -> Term:
    flat = program.flat
    step = flat.made_by.get(part.place)
    count = mean_of(flat, part.place)
    return Term(
        "" if step is None else line_of(step.equation),
        "a number" if step is None else "mean" if count else next(filter(None, step.calls[::-1]), step.name),
        value,
        part.factor,
        None if slope is None else float(np.linalg.norm(slope)),
        moves=moves if np.isfinite(moves) else 0.0,
        mean_of=count,
        sum_of=0 if count else sum_of(flat, part.place),
        along=nan if slope is None else _cosine(slope, whole),
        meant=meant,
    )


def _meant(program: JaxProgram, part: Part, kept: list[Part]) -> bool:
    """Whether what is stopped there is stopped so in a term that has a gradient."""
    known = _stops(program, part)
    return part not in kept and bool(known) and any(known <= _stops(program, other) for other in kept)


def _stops(program: JaxProgram, part: Part) -> set[int]:
    """The values that stop a gradient, but for the maxima that a softmax takes off."""
    flat = program.flat
    steps = [step for step in flat.behind([part.place]) if step.name == "stop_gradient"]
    return {step.reads[0] for step in steps if not any("softmax" in name or "sumexp" in name for name in step.calls)}


def _cosine(one: Vector, other: Vector) -> float:
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size else nan
