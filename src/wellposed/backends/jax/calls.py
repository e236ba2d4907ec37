"""The custom derivatives in one run of a JAX function, with what went in and what gradient came back; and the run
without stop_gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from wellposed.backends.jax.elementwise import CALLS, call
from wellposed.backends.jax.recorder import evaluate

_CUSTOM = ("custom_vjp_call", "custom_jvp_call")


@dataclass(frozen=True)
class Call:
    """One call of a function with a rule of its own: the function of its arguments, these, and the cotangents of its
    outputs.
    """

    name: str
    function: Callable[..., list[Any]]
    arguments: list[Any]
    cotangents: list[Any]


def custom_calls(loss: Callable[[Any], Any], params: Any) -> list[Call]:
    """The custom derivatives, in order; those within loops are not seen."""
    closed, leaves = jax.make_jaxpr(loss)(params), jax.tree_util.tree_leaves(params)
    pilot = _Walk()
    pilot.run(closed, leaves)
    if not pilot.calls:
        return []
    zeros = [[jnp.zeros_like(output) for output in outputs] for _, _, _, outputs in pilot.calls]
    cotangents = jax.grad(lambda taps: _Walk(taps).run(closed, leaves)[0])(zeros)
    return [Call(name, f, args, back) for (name, f, args, _), back in zip(pilot.calls, cotangents, strict=True)]


def without_stops(loss: Callable[[Any], Any], params: Any) -> tuple[Callable[[Any], Any], int]:
    """The loss in which stop_gradient lets gradients through, and how many there are."""
    closed = jax.make_jaxpr(loss)(params)

    def through(given: Any) -> Any:
        return jnp.reshape(_Walk(through=True).run(closed, jax.tree_util.tree_leaves(given))[0], ())

    counting = _Walk(through=True)
    counting.run(closed, jax.tree_util.tree_leaves(params))
    return through, counting.stops


def with_stops_held(loss: Callable[[Any], Any], params: Any) -> tuple[Callable[[Any], Any], list[Any]]:
    """The loss in which what passes stop_gradient is what passes it at `params`, and these values. Stops within loops
    are not held.
    """
    closed = jax.make_jaxpr(loss)(params)
    recording = _Walk()
    recording.run(closed, jax.tree_util.tree_leaves(params))

    def held(given: Any) -> Any:
        walk = _Walk(held=recording.passed)
        return jnp.reshape(walk.run(closed, jax.tree_util.tree_leaves(given))[0], ())

    return held, recording.passed


class _Walk:
    """One evaluation of a jaxpr, equation by equation. With taps it adds a number of zero to every output of a custom
    call.
    """

    def __init__(
        self, taps: list[list[Any]] | None = None, *, through: bool = False, held: list[Any] | None = None
    ) -> None:
        self._taps, self._through, self._held = taps, through, held
        self.passed: list[Any] = []  # through stop_gradient
        self.calls: list[tuple[str, Callable[..., list[Any]], list[Any], list[Any]]] = []
        self.stops = 0

    def run(self, closed: Any, arguments: list[Any]) -> list[Any]:
        known = dict(zip(closed.jaxpr.invars, arguments, strict=True)) | dict(
            zip(closed.jaxpr.constvars, closed.consts, strict=True)
        )

        def read(var: Any) -> Any:
            return var.val if isinstance(var, core.Literal) else known[var]

        for equation in closed.jaxpr.eqns:
            results = self._equation(closed.jaxpr, equation, [read(var) for var in equation.invars])
            known |= dict(zip(equation.outvars, results, strict=True))
        return [read(var) for var in closed.jaxpr.outvars]

    def _equation(self, inside: Any, equation: Any, arguments: list[Any]) -> list[Any]:
        name = equation.primitive.name
        if name == "stop_gradient" and self._through:
            self.stops += 1
            return arguments
        if name == "stop_gradient":  # and not through
            given = arguments if self._held is None else self._held[len(self.passed)]
            self.passed.append(given)
            return list(given)
        if name in CALLS and name not in _CUSTOM:
            return self.run(call(equation), arguments)
        results = evaluate(inside, equation, arguments)
        if name in _CUSTOM:
            shown = [
                result
                for result in results
                if result is not None and jnp.issubdtype(jnp.result_type(result), jnp.floating)
            ]
            index = len(self.calls)
            self.calls.append(
                (_called(equation), lambda *args: evaluate(inside, equation, list(args)), arguments, shown)
            )
            if self._taps is not None:
                taps = iter(self._taps[index])
                results = [r + next(taps) if any(r is one for one in shown) else r for r in results]
        return results


def _called(equation: Any) -> str:
    inner = equation.params["call_jaxpr"]
    found = equation.params.get("name") or getattr(getattr(inner.jaxpr, "debug_info", None), "func_name", "")
    return str(found or "a custom derivative")
