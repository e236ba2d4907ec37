"""A JAX function of its inputs: products with its Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Vector


class JaxInputMap:
    """Of a function from one array [N, ...] to an array [N, ...]."""

    def __init__(self, function: Callable[[Any], Any], x: Any) -> None:
        self._function, self._x = function, jnp.asarray(x)
        if not jnp.issubdtype(self._x.dtype, jnp.floating) or self._x.ndim < 1 or not self._x.size:
            raise InputError(
                f"a spectrum needs an array of real inputs [N, ...], not {self._x.dtype} of shape {self._x.shape}"
            )
        outputs, self._pull = jax.vjp(function, self._x)
        if not isinstance(outputs, jax.Array):
            raise InputError(f"a spectrum needs a function that returns one array, not a {type(outputs).__name__}")
        if jnp.ndim(outputs) < 1 or outputs.shape[0] != self._x.shape[0]:
            raise InputError("a spectrum needs outputs of shape [N, ...], one row for each of the inputs'")
        self._shape, self._dtype = outputs.shape, outputs.dtype
        self.inputs, self.outputs = _rows(self._x), _rows(outputs)

    def vjp(self, row: int, u: Vector) -> Vector:
        given = jnp.zeros(self._shape, self._dtype).at[row].set(jnp.asarray(u, self._dtype).reshape(self._shape[1:]))
        back: Vector = _rows(self._pull(given)[0])[row]
        return back

    def jvp(self, row: int, v: Vector) -> Vector:
        given = jnp.zeros_like(self._x).at[row].set(jnp.asarray(v, self._x.dtype).reshape(self._x.shape[1:]))
        moved: Vector = _rows(jax.jvp(self._function, (self._x,), (given,))[1])[row]
        return moved


def _rows(array: Any) -> Vector:
    return np.asarray(array, dtype=np.float64).reshape(array.shape[0], -1)
