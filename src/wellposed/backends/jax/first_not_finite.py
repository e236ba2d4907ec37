"""Which equation of the loss's own and its gradient's jaxpr was the first to make the NaN or infinity that came out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wellposed.backends.jax.elementwise import CALLS
from wellposed.backends.jax.lines import line_of
from wellposed.backends.jax.recorder import evaluate
from wellposed.backends.measured import NotFinite, Operand

_DELIBERATE = (
    "broadcast_in_dim",
    "select_n",
    "convert_element_type",
    "pad",
    "copy",
    "iota",
    "scatter",
    "dynamic_update_slice",
)


def first_not_finite(loss: Callable[[Any], Any], params: Any) -> NotFinite | None:
    """None where loss and gradient are finite, or where what made them otherwise cannot be told (inside a loop,
    say).
    """
    for function, backward in ((loss, False), (jax.grad(loss), True)):
        closed = jax.make_jaxpr(function)(params)
        walk = _Walk(backward)
        outputs = walk.evaluate(
            closed.jaxpr, closed.consts, [(leaf, None, "") for leaf in jax.tree_util.tree_leaves(params)]
        )
        culprits = [culprit for value, culprit, _ in outputs if not _finite(value) and culprit is not None]
        if culprits:
            first: NotFinite = min(culprits, key=lambda culprit: culprit[0])[1]
            return first
    return None


class _Walk:
    """Values with the culprit, (order, what), behind them, and the primitive that made them; infinity that a mask was
    filled with has no culprit."""

    def __init__(self, backward: bool) -> None:
        self._count, self._backward = 0, backward

    def evaluate(self, jaxpr: Any, consts: Any, inputs: list[Any]) -> list[Any]:
        known = dict(zip(jaxpr.invars, inputs, strict=True)) | {
            var: (const, None, "") for var, const in zip(jaxpr.constvars, consts, strict=True)
        }

        def read(var: Any) -> Any:
            return (var.val, None, "") if isinstance(var, core.Literal) else known[var]

        for equation in jaxpr.eqns:
            known |= dict(
                zip(
                    equation.outvars,
                    self._equation(jaxpr, equation, [read(var) for var in equation.invars]),
                    strict=True,
                )
            )
        return [read(var) for var in jaxpr.outvars]

    def _equation(self, jaxpr: Any, equation: Any, arguments: list[Any]) -> list[Any]:
        name = equation.primitive.name
        if name in CALLS:
            inner = equation.params[CALLS[name]]
            return self.evaluate(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), arguments)
        results = evaluate(jaxpr, equation, [value for value, *_ in arguments])
        bad = [value for value in results if value is not None and not _finite(value)]
        if not bad:
            return [(value, None, name) for value in results]
        before = [culprit for _, culprit, _ in arguments if culprit is not None]
        floats = [value for value, *_ in arguments if _floating(value)]
        nan = any(bool(jnp.isnan(value).any()) for value in bad)
        if before:
            culprit = min(before, key=lambda culprit: culprit[0])
        elif (nan and any(bool(jnp.isnan(value).any()) for value in floats)) or (
            not nan and (name in _DELIBERATE or any(not _finite(value) for value in floats))
        ):
            culprit = None
        else:
            self._count += 1
            # The slope of a root is 1 / (2 root).
            operation = "sqrt" if self._backward and name == "div" and arguments[1][2] == "sqrt" else name
            line = line_of(equation)
            found = NotFinite(
                operation, "", line, self._backward, "NaN" if nan else "infinity", tuple(map(_operand, floats))
            )
            culprit = (self._count, found)
        return [(value, None if value is None or _finite(value) else culprit, name) for value in results]


def _floating(value: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(value), jnp.floating)


def _finite(value: Any) -> bool:
    return not _floating(value) or bool(jnp.isfinite(value).all())


def _operand(value: Any) -> Operand:
    array = np.asarray(value, dtype=np.float64)
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (np.nan, np.nan)
    masked = bool(array.ndim and array.size and (array == -np.inf).all(axis=-1).any())
    return Operand(low, high, int((array == 0).sum()), str(jnp.result_type(value)), array.size, masked)
