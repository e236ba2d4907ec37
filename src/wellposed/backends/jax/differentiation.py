"""How a JAX loss is differentiated: forward mode, custom derivatives, what stops a gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from wellposed.backends.jax.calls import Call, custom_calls, with_stops_held, without_stops
from wellposed.backends.jax.evaluation import as_numpy
from wellposed.backends.jax.first_not_finite import first_not_finite
from wellposed.backends.jax.network import JaxNetwork
from wellposed.backends.measured import Cut, NotFinite, Uncut
from wellposed.backends.protocol import Differentiation, Held, Part, Problem
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient, Theta
from wellposed.users_code import ask


class JaxDifferentiation(JaxNetwork, Differentiation):
    _pointwise: tuple[Callable[[Vector], Vector], Vector] | None = None

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            return self._named(jax.grad(lambda params: factor * self._scalar(params))(self._params(theta)))

    def jvp(self, theta: Vector, u: Vector) -> float:
        with self._precision(), self._random.fixed():
            return float(jax.jvp(self._scalar, (self._params(theta),), (self._params(u),))[1])

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            return first_not_finite(self._scalar, self._params(theta))

    def parts(self, theta: Theta) -> list[Part]:
        with self._precision(), self._random.fixed():
            calls = custom_calls(self._scalar, self._params(theta))
        return [part for call in calls if (part := self._part(call)) is not None]

    def _part(self, call: Call) -> Part | None:
        moving = [k for k, value in enumerate(call.arguments) if jnp.issubdtype(jnp.result_type(value), jnp.floating)]
        if not moving or not all(bool(jnp.isfinite(call.arguments[k]).all()) for k in moving):
            return None

        def outputs(params: dict[str, Any]) -> list[Any]:
            arguments = list(call.arguments)
            for k in moving:
                arguments[k] = params[f"argument {k}"]
            found = call.function(*arguments)
            return [one for one in found if one is not None and jnp.issubdtype(jnp.result_type(one), jnp.floating)]

        def loss(params: dict[str, Any]) -> Any:
            return sum(jnp.sum(one * back) for one, back in zip(outputs(params), call.cotangents, strict=True))

        with self._precision():
            problem = self._made_of(loss, {f"argument {k}": call.arguments[k] for k in moving})
        problem._wide, problem.context, problem.is_part = self._wide, self.data(), True
        first = f"argument {moving[0]}"
        if len(moving) == len(call.cotangents) == 1 and call.cotangents[0].shape == problem._leaves[first].shape:
            problem._pointwise = (
                lambda x: as_numpy(outputs({first: jnp.asarray(x).astype(problem._leaves[first].dtype)})[0]),
                as_numpy(call.cotangents[0]),
            )
        return Part(call.name, "", problem)

    def pointwise(self) -> tuple[Callable[[Vector], Vector], Vector] | None:
        if self._pointwise is None:
            return None
        f, cotangent = self._pointwise

        def precisely(x: Vector) -> Vector:
            with self._precision():
                return f(x)

        return precisely, cotangent

    def held(self, theta: Theta) -> Held | None:
        with self._precision(), self._random.fixed():
            made = ask(lambda: with_stops_held(self._scalar, self._params(theta)), None)
        if made is None:  # the loss cannot be traced
            return None
        loss, passed = made
        return _Held(self, loss) if passed else None

    def uncut(self, theta: Theta) -> Uncut | None:
        with self._precision(), self._random.fixed():
            through, count = without_stops(self._scalar, self._params(theta))
            if not count:
                return None
            return Uncut(self._named(jax.grad(through)(self._params(theta))), "stop_gradient")


class _Held:
    """A problem with what passes stop_gradient held; see `backends.protocol.Held`."""

    broken = False

    def __init__(self, problem: JaxDifferentiation, loss: Callable[[Any], Any]) -> None:
        self._problem = problem
        self.problem = copy.copy(problem)
        self.problem.loss = lambda params, *_args: loss(params)
        self.cuts = (Cut("stop_gradient"),)

    def freed(self, *cuts: Cut) -> Problem:
        return self._problem

    def nudged(self, cut: Cut) -> Problem:
        return self.problem
