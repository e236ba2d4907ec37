"""The optimizer of a JAX problem, as optax has them: a pair of functions `init` and `update`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from wellposed.backends.jax.evaluation import JaxEvaluation
from wellposed.backends.protocol import Training
from wellposed.numerics.theta import Theta


class JaxOptimizer(JaxEvaluation, Training):
    """The steps of the optimizer given, its updates times `_factor`."""

    @property
    def optimized(self) -> bool:
        return self.optimizer is not None

    @property
    def rate(self) -> float:
        """That of a schedule's first step where `inject_hyperparams` shows it; NaN where nothing does."""
        if self.optimizer is None:
            return float("nan")
        told = getattr(self.optimizer.init(self._params(self.theta())), "hyperparams", {})
        return self._factor * float(told.get("learning_rate", "nan"))

    def trained_at(
        self, theta: Theta, steps: Sequence[int], factor: float = 1.0, *, decayed: bool = True
    ) -> Iterator[Theta]:
        """By the optimizer given; by Adam without one. What it decays stays in its steps."""
        if self.optimizer is None:
            yield from super().trained_at(theta, steps, factor, decayed=decayed)
            return
        params = self._params(theta)
        state, taken = self.optimizer.init(params), 0
        for number in steps:
            with self._precision(), self._random.fixed():
                step = jax.jit(lambda params, state: self._stepped(params, state, factor))
                for _ in range(number - taken):
                    params, state = step(params, state)
            taken = number
            yield self._layout.pack_known(self._named(params))

    def _stepped(self, params: Any, state: Any, factor: float) -> tuple[Any, Any]:
        value, slopes = jax.value_and_grad(self._scalar)(params)
        update = self.optimizer.update
        known = {"value": value, "grad": slopes, "value_fn": self._scalar} if _takes_more(update) else {}
        updates, state = update(slopes, state, params, **known)
        size = factor * self._factor
        moved = jax.tree_util.tree_map(lambda p, u: jnp.asarray(p + size * u, dtype=p.dtype), params, updates)
        return moved, state


def _takes_more(update: Any) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(update).parameters.values())
