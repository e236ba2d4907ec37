"""A pytree of JAX arrays, and the function of it that shows them at work, as a model whose weights can be set.

Any pytree: dictionaries, Flax variables, Equinox modules. What is no floating-point array in it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.fitting import Fitting
from wellposed.backends.initializable import Initializable, Parameter, Role
from wellposed.backends.jax.evaluation import name_of
from wellposed.backends.jax.recorder import Walk, record
from wellposed.backends.measured import Operation, Run, WeightUse
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector, root_mean_square
from wellposed.numerics.fans import Fan

_ROLES: dict[str, Role] = {
    "bias": "bias", "b": "bias", "beta": "shift", "shift": "shift", "scale": "scale", "gamma": "scale",
    "embedding": "embedding",
}  # fmt: skip


class JaxInitializable(Initializable):
    """`function(params)` returns what the model makes of a batch, or its loss; None where nothing shows the weights at
    work.
    """

    def __init__(self, params: Any, function: Callable[[Any], Any] | None) -> None:
        if function is not None and not callable(function):
            raise InputError(
                "for a pytree of arrays, batch is a function of them that runs the model, not a"
                f" {type(function).__name__}",
                hint="wp.initialize(params, lambda params: apply(params, x))",
            )
        paths, self._tree = jax.tree_util.tree_flatten_with_path(params)
        self._leaves = [leaf for _, leaf in paths]
        self._places = {name_of(path): index for index, (path, leaf) in enumerate(paths) if _is_weight(leaf)}
        if not self._places:
            raise InputError("the pytree holds no floating-point array, so there is nothing to initialise")
        self._function = function
        self._operations: tuple[Operation, ...] = ()
        self._looked_up: set[str] = set()

    def run(self) -> Run:
        if self._function is None:
            raise InputError(
                "a pytree of arrays does not say what its weights do",
                hint=(
                    "give a function of it that runs the model: wp.initialize(params, lambda params: apply(params, x))"
                ),
            )
        walk = record(self._number, self._arrays(), tuple(self._places))
        self._operations, self._looked_up = tuple(walk.operations), walk.looked_up
        return Run(self._operations)

    def parameters(self) -> tuple[Parameter, ...]:
        uses = {use.name: use for operation in self._operations if (use := operation.weight) is not None}
        biases = {use.bias for use in uses.values()}
        roles = {
            name: "embedding" if name in self._looked_up else _role(name, array.ndim, uses, biases)
            for name, array in zip(self._places, self._arrays(), strict=True)
        }
        return tuple(
            Parameter(name, array.shape, roles[name], name.rpartition(".")[0], "", True, _fan(uses.get(name)))
            for name, array in zip(self._places, self._arrays(), strict=True)
        )

    def weights(self) -> dict[str, Vector]:
        return {name: np.asarray(self._leaves[index], dtype=np.float64) for name, index in self._places.items()}

    def assign(self, values: Mapping[str, Vector]) -> None:
        for name, value in values.items():
            old = self._leaves[self._places[name]]
            self._leaves[self._places[name]] = jnp.asarray(value, dtype=old.dtype)

    def params(self) -> Any:
        return jax.tree_util.tree_unflatten(self._tree, self._leaves)

    def calibrate(self, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        arrays = self._arrays()
        fitting = Fitting(targets, root_mean_square)
        biased = {use.name for operation in self._operations if (use := operation.weight) is not None and use.bias}
        _Fitted(tuple(self._places), fitting, biased).run(jax.make_jaxpr(self._number)(arrays), arrays)
        return fitting.factors

    def _arrays(self) -> list[Any]:
        return [self._leaves[index] for index in self._places.values()]

    def _number(self, arrays: list[Any]) -> Any:
        """A scalar of whatever the function returns."""
        leaves = list(self._leaves)
        for index, array in zip(self._places.values(), arrays, strict=True):
            leaves[index] = array
        assert self._function is not None
        made = jax.tree_util.tree_leaves(self._function(jax.tree_util.tree_unflatten(self._tree, leaves)))
        floating = [jnp.asarray(leaf) for leaf in made if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
        if not floating:
            raise InputError(
                "the function returned no floating-point array, so what its weights lead to cannot be seen"
            )
        return sum(jnp.mean(leaf.astype(jnp.float32)) for leaf in floating)


class _Fitted(Walk):
    """A run in which what each weight makes is scaled to its target, with its bias where it has one."""

    def __init__(self, names: tuple[str, ...], fitting: Fitting, biased: set[str]) -> None:
        super().__init__(names, None)
        self._fitting, self._biased = fitting, biased

    def _note(
        self,
        name: str,
        kind: Any,
        function: str,
        sources: tuple[int, ...],
        value: Any,
        use: Any = None,
        read: Any = None,
        phi: Any = None,
    ) -> Any:
        if use is not None and use.name not in self._biased:
            value = self._fitting.scaled(use.name, value)
        return super()._note(name, kind, function, sources, value, use, read, phi)

    def _with_bias(self, arguments: list[Any], source: int, value: Any) -> Any:
        use = self.operations[source].weight
        fresh = (
            use is not None
            and use.name in self._biased
            and not use.bias
            and np.shape(value) == np.shape(self.outputs[source])
        )
        return super()._with_bias(
            arguments, source, self._fitting.scaled(use.name, value) if use is not None and fresh else value
        )


def _is_weight(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size > 0


def _role(name: str, axes: int, uses: Mapping[str, WeightUse], biases: set[str]) -> Role:
    if name in uses:
        return "weight"
    if name in biases:
        return "bias"
    own = name.rpartition(".")[2].lower()
    return _ROLES.get(own, "other") if axes == 1 or own == "embedding" else "other"


def _fan(use: WeightUse | None) -> Fan | None:
    return None if use is None else Fan(use.fan_in, use.fan_out)
