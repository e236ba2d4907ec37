"""Statistics of inputs as a JAX function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from wellposed.numerics.arrays import Vector


def standardize(
    mean: tuple[Vector, Vector],
    scale: Vector,
    rotation: Vector | None,
    axes_of: Callable[[tuple[int, ...]], tuple[int, ...]],
) -> Callable[[Any], Any]:
    """x -> (x - mean) / scale along the axes that count features, to be jitted, vmapped, differentiated; the mean in
    two parts.
    """

    def applied(x: Any) -> Any:
        axes = axes_of(tuple(x.shape))
        shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
        y = jnp.asarray(x)
        if not jnp.issubdtype(y.dtype, jnp.floating):  # whole numbers: the mean's own first, which is exact
            whole = np.rint(mean[0])
            y = (y - whole.astype(y.dtype).reshape(shape)).astype(jnp.result_type(float))
            rest = ((mean[0] - whole) + mean[1]).astype(y.dtype).reshape(shape)
            y = (y - rest) / scale.astype(y.dtype).reshape(shape)
            return turned_by(rotation, y, axes)
        high = mean[0].astype(y.dtype)
        low = (mean[0] - high.astype(np.float64) + mean[1]).astype(y.dtype)
        y = ((y - high.reshape(shape)) - low.reshape(shape)) / scale.astype(y.dtype).reshape(shape)
        return turned_by(rotation, y, axes)

    return applied


def turned_by(rotation: Vector | None, y: Any, axes: tuple[int, ...]) -> Any:
    """y rotated along its features."""
    if rotation is None:
        return y
    last = tuple(range(y.ndim - len(axes), y.ndim))
    moved = jnp.moveaxis(y, axes, last)
    turned = (moved.reshape(*moved.shape[: y.ndim - len(axes)], -1) @ rotation.astype(y.dtype)).reshape(moved.shape)
    return jnp.moveaxis(turned, last, axes)
