"""Runs of elementwise equations behind one operation: x tanh(log(1 + exp(x))) is one activation, in however many it is
written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wellposed.backends.jax.activation import activation_of
from wellposed.numerics.activations import ALIASES, NAMED, Activation

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}
PASSING = {"convert_element_type", "broadcast_in_dim", "reshape", "copy", "squeeze", "expand_dims"}
_BENDING = {
    "tanh", "logistic", "erf", "erfc", "erf_inv", "max", "min", "clamp", "select_n", "expm1", "sin", "cos", "atan",
    "asinh", "sign",
}  # fmt: skip
_OTHERS = {
    "add", "sub", "mul", "div", "neg", "integer_pow", "pow", "square", "sqrt", "rsqrt", "abs", "exp", "exp2", "log",
    "log1p", "gt", "lt", "ge", "le", "eq", "ne", "and", "or", "not",
}  # fmt: skip
_MOST_EQUATIONS = 64  # steps: what is read twice is evaluated twice
_PROBE = np.linspace(-4.0, 4.0, 33)


@dataclass(frozen=True, eq=False)
class Chain:
    """An elementwise function of the output of operation `source`.

    `bends`: squares and differences alone belong to a variance as often as to an activation; a chain that bends is an
    activation.
    """

    source: int
    function: Callable[[Any], Any] = lambda z: z
    bends: bool = False
    steps: int = 0

    def activation(self) -> tuple[str, Activation]:
        """(its name, itself on float64 arrays); "elementwise" where it is none of the known functions."""
        own = activation_of(self.function)
        values = own(_PROBE)
        # Equal within float32, in which a network's constants are written down.
        known = next(
            (name for name, phi in NAMED.items() if np.allclose(values, phi(_PROBE), rtol=1e-5, atol=1e-6)), ""
        )
        return (known, NAMED[known]) if known else ("elementwise", own)


Given = Chain | Any | None
"""What an argument is: an elementwise function of an operation's output, a number, or neither (None)."""


def extend(equation: Any, given: list[Given]) -> Given:
    """What the one output of an equation is, by what its arguments are."""
    primitive = equation.primitive.name
    if primitive in CALLS:
        return _through(call(equation), given)
    if primitive in PASSING and len(given) == 1:
        return _converted(given[0], equation.params["new_dtype"]) if primitive == "convert_element_type" else given[0]
    if (primitive not in _BENDING and primitive not in _OTHERS) or any(one is None for one in given):
        return None

    def bind(*values: Any) -> Any:
        return equation.primitive.bind(*values, **equation.params)

    chains = [one for one in given if isinstance(one, Chain)]
    if not chains:
        return bind(*given)
    steps = 1 + sum(chain.steps for chain in chains)
    if len({chain.source for chain in chains}) > 1 or steps > _MOST_EQUATIONS:
        return None

    def function(z: Any) -> Any:
        return bind(*[one.function(z) if isinstance(one, Chain) else _spread(one, z) for one in given])

    return Chain(chains[0].source, function, primitive in _BENDING or any(chain.bends for chain in chains), steps)


def call(equation: Any) -> Any:
    """The closed jaxpr that an equation of one of CALLS evaluates."""
    inner = equation.params[CALLS[equation.primitive.name]]
    return inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())


def _through(closed: Any, given: list[Given]) -> Given:
    """What a jaxpr of one output returns."""
    known: dict[Any, Given] = dict(zip(closed.jaxpr.invars, given, strict=True))
    known |= {
        var: const if np.ndim(const) == 0 else None
        for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)
    }

    def read(var: Any) -> Given:
        return number_of(var.val) if isinstance(var, core.Literal) else known[var]

    if len(closed.jaxpr.outvars) != 1 or any(len(equation.outvars) != 1 for equation in closed.jaxpr.eqns):
        return None
    for equation in closed.jaxpr.eqns:
        known[equation.outvars[0]] = extend(equation, [read(var) for var in equation.invars])
    return read(closed.jaxpr.outvars[0])


def number_of(value: Any) -> Any:
    """The number as an array without axes; None for what is no number."""
    return jnp.asarray(value) if np.ndim(value) == 0 else None


def _converted(one: Given, dtype: Any) -> Given:
    """Between floating-point dtypes nothing: all is evaluated in float64."""
    if not isinstance(one, Chain):
        return None if one is None else jnp.asarray(one, dtype)
    if one.steps == 0:
        return one
    before = one.function

    def function(z: Any) -> Any:
        return before(z).astype(z.dtype if jnp.issubdtype(dtype, jnp.floating) else dtype)

    return replace(one, function=function)


def _spread(number: Any, z: Any) -> Any:
    return jnp.full(z.shape, number, z.dtype if jnp.issubdtype(number.dtype, jnp.floating) else number.dtype)


def name_of_call(params: dict[str, Any]) -> str:
    """The name of the known activation that a call is, as its author wrote it; "" for any other."""
    inside = params["call_jaxpr"].jaxpr.eqns if "call_jaxpr" in params else []
    name = str(params.get("name") or (inside[0].params.get("name", "") if len(inside) == 1 else ""))
    name = ALIASES.get(name, name)
    return name if name in NAMED else ""
