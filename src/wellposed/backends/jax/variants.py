"""A JAX problem otherwise: in float64, on other data, at another rate, or with its loss called on other values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.jax.differentiation import JaxDifferentiation
from wellposed.backends.jax.rerouted import on_scores
from wellposed.backends.precision import same_gradient, same_loss
from wellposed.backends.protocol import Problem, Variants
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import as_vector, move_by_its_size
from wellposed.users_code import Raised, ask, attempt


class JaxVariants(JaxDifferentiation, Variants):
    def precise(self) -> Problem:
        """The same loss with all floating-point arrays in float64, where it runs so; else this problem."""
        if self.dtype == "float64":
            return self
        return ask(self._double, None) or self  # a dtype that the loss was not written for

    def _double(self) -> JaxVariants | None:
        """In float64; None where that is another loss, or one without the gradient."""
        with jax.enable_x64(True):
            params = jax.tree_util.tree_unflatten(self._tree, [_to_double(leaf) for leaf in self._leaves.values()])
            twin = self._made_of(self.loss, params, *jax.tree_util.tree_map(_to_double, self.args))
            twin._wide, twin.trained_in, twin.cuts_count = True, self.dtype, self.cuts_count
        theta = self.theta()
        mine, its = self.value(theta), twin.value(theta)
        if not _has_gradient(twin, theta) and _has_gradient(self, theta):
            return None

        def elsewhere(least: float) -> tuple[float, float]:
            other = self.stored(as_vector(move_by_its_size(self._layout, theta, least=least)))
            return self.value(other), twin.value(other)

        same = same_loss(mine, its, elsewhere) or (
            _has_gradient(twin, theta) and same_gradient(self.gradient(theta), twin.gradient(theta))
        )
        return twin if same else None

    def with_data(
        self, inputs: Callable[[Array], Array] | None = None, targets: Callable[[Array], Array] | None = None
    ) -> Problem | None:
        with self.program() as program:
            if program is None:
                return None
            read = {name: array for name, array in program.inputs.items() if array.dtype.kind == "f"}
            asked = {name: a for name, a in program.targets.items() if a.dtype.kind == "f" and name not in read}
            changed: dict[str, Array] = {}
            for change, arrays in ((inputs, read), (targets, asked)):
                if change is not None:
                    if len(arrays) != 1:
                        return None
                    ((name, array),) = arrays.items()
                    changed[name] = change(array)
            args = program.args_with(changed)
        made: Problem = self._made_of(self.loss, self._params(self.theta()), *args, optimizer=self.optimizer)
        return made

    def with_rate(self, factor: float) -> Problem | None:
        if self.optimizer is None:
            return None
        other = copy.copy(self)
        other._factor = factor * self._factor
        return other

    def rerouted(self, route: str) -> Problem | None:
        if route != "scores":
            return None
        with self._programmed() as program:
            loss = None if program is None else ask(lambda: on_scores(program), None)
        params = self._params(self.theta())
        return None if loss is None else self._made_of(loss, params, *self.args, optimizer=self.optimizer)


def _has_gradient(problem: JaxVariants, theta: Vector) -> bool:
    """A function of forward mode alone has none either."""
    return not isinstance(attempt(lambda: problem.gradient(theta), ours=True), Raised)


def _to_double(leaf: Any) -> Any:
    floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(np.asarray(leaf, dtype=np.float64)) if floating else leaf
