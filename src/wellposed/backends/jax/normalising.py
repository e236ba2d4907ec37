"""Statistics of inputs as a JAX function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from wellposed.numerics.arrays import Vector


def standardize(
    mean: tuple[Vector, Vector], scale: Vector, rotation: Vector | None, axes_of: Callable[[tuple[int, ...]], tuple[int, ...]]
) -> Callable[[Any], Any]:
    """x -> (x - mean) / scale along the axes that count features, to be jitted, vmapped, differentiated; the mean in two parts."""

    def applied(x: Any) -> Any:
        axes = axes_of(tuple(x.shape))
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
        y = jnp.asarray(x)
        y = y if jnp.issubdtype(y.dtype, jnp.floating) else y.astype(jnp.result_type(float))
        high = mean[0].astype(y.dtype)
        low = (mean[0] - high.astype(np.float64) + mean[1]).astype(y.dtype)
        y = ((y - high.reshape(shape)) - low.reshape(shape)) / scale.astype(y.dtype).reshape(shape)
        if rotation is None:
            return y
        last = tuple(range(y.ndim - len(axes), y.ndim))
        moved = jnp.moveaxis(y, axes, last)
        turned = (moved.reshape(*moved.shape[: y.ndim - len(axes)], -1) @ rotation.astype(y.dtype)).reshape(moved.shape)
        return jnp.moveaxis(turned, last, axes)

    return applied
