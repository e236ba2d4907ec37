"""One evaluation after the other of a JAX loss at float64 vectors of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.exclusive import exclusively
from wellposed.backends.jax.partitioned import partitioned
from wellposed.backends.protocol import Problem
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector
from wellposed.numerics.theta import Gradient, Layout, Theta


class JaxEvaluation(Problem):
    """`_wide` says whether all is computed in float64; `_factor` multiplies the optimizer's updates."""

    backend = "jax"
    _random: Randomness

    def __init__(self, loss: Callable[..., Any], params: Any, *args: Any, optimizer: Any = None) -> None:
        if not callable(loss):
            raise InputError(
                f"loss must be a function of (params, *args), not a {type(loss).__name__}",
                hint="JaxProblem(loss, params, inputs, targets)",
            )
        _demand_optimizer(optimizer)
        loss, params = partitioned(loss, params)
        leaves, self._tree = jax.tree_util.tree_flatten_with_path(params)
        if not leaves:
            raise InputError("params holds no floating-point array", hint="JaxProblem(loss, params, inputs, targets)")
        self.loss, self.args, self.optimizer, self._factor = loss, args, optimizer, 1.0
        self._leaves = {name_of(path): _checked(name_of(path), leaf) for path, leaf in leaves}
        self._layout = Layout({name: tuple(leaf.shape) for name, leaf in self._leaves.items()})
        self._random = Randomness(*owned_generators(loss))
        self._wide = False
        self.dtype = "+".join(sorted({leaf.dtype.name for leaf in self._leaves.values()}))

    def _made_of(self, loss: Any, params: Any, *args: Any, optimizer: Any = None) -> Any:
        """Another problem of this kind."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        return self._layout

    def theta(self) -> Vector:
        return self._layout.pack({name: as_numpy(leaf) for name, leaf in self._leaves.items()})

    def stored(self, theta: Vector) -> Vector:
        if self.dtype == "float64":
            return theta
        with self._precision():
            return self._layout.pack({name: as_numpy(leaf) for name, leaf in self._arrays(theta).items()})

    def value(self, theta: Theta) -> float:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            loss = self.loss(self._params(theta), *self.args)
            if jnp.size(loss) != 1 or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
                raise InputError(
                    f"the loss must be one number, but it has shape {jnp.shape(loss)}",
                    hint="take .mean() or .sum() over the batch",
                )
            return float(jnp.reshape(loss, ()))

    def gradient(self, theta: Theta) -> Gradient:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            return self._named(jax.grad(self._scalar)(self._params(theta)))

    @contextmanager
    def preserved(self) -> Iterator[None]:
        with exclusively(), self._random.fixed():
            yield

    def _scalar(self, params: Any) -> Any:
        return jnp.reshape(self.loss(params, *self.args), ())

    def _precision(self) -> Any:
        return jax.enable_x64(True) if self._wide else nullcontext()

    def _arrays(self, theta: Theta) -> dict[str, Any]:
        return {
            name: jnp.asarray(array).astype(self._leaves[name].dtype)
            for name, array in self._layout.unpack(theta).items()
        }

    def _params(self, theta: Theta) -> Any:
        return jax.tree_util.tree_unflatten(self._tree, list(self._arrays(theta).values()))

    def _named(self, gradient: Any) -> Gradient:
        return dict(zip(self._layout.names, map(as_numpy, jax.tree_util.tree_leaves(gradient)), strict=True))


def name_of(path: tuple[Any, ...]) -> str:
    """A leaf's name: its path in the pytree."""
    return jax.tree_util.keystr(path, simple=True, separator=".") or "params"


def _checked(name: str, leaf: Any) -> Any:
    try:
        array = jnp.asarray(leaf)
    except TypeError as error:
        raise InputError(
            f"parameter {name!r} is no array: {error}", hint="keep what is no array out of params"
        ) from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(
            f"parameter {name!r} has dtype {array.dtype}; a derivative needs real floating-point numbers",
            hint="split it into its real and imaginary part",
        )
    if not bool(jnp.isfinite(array).all()):
        raise InputError(f"parameter {name!r} contains NaN or infinity; there is nothing to check at such a point")
    return array


def as_numpy(leaf: Any) -> Vector:
    return np.array(leaf, dtype=np.float64)


def _demand_optimizer(optimizer: Any) -> None:
    """Raises `InputError`."""
    if optimizer is None:
        return
    if isinstance(optimizer, type) or not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        what = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        raise InputError(
            f"optimizer must have init and update, as optax's have, not be {what}", hint="for example optax.adam(1e-3)"
        )
