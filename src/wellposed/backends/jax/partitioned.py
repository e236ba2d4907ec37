"""A pytree of parameters and of what is none: a model of a library has functions, counters and masks among its
leaves, which those who differentiate leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_MODULES = ("equinox",)  # whose users differentiate by arrays alone


def partitioned(loss: Callable[..., Any], params: Any) -> tuple[Callable[..., Any], Any]:
    """The loss as a function of the floating-point arrays in `params`, and these, with None in place of all else;
    both as they are where there is nothing else. Numbers of Python are parameters where all leaves could be.
    """
    leaves, tree = jax.tree_util.tree_flatten(params)
    arrays_alone = _of_a_library(params) or not all(isinstance(leaf, float) or _is_real(leaf) for leaf in leaves)
    trains = [_is_real(leaf) if arrays_alone else True for leaf in leaves]
    trains = [one and not _is_mask(leaf) for one, leaf in zip(trains, leaves, strict=True)]
    if all(trains):
        return loss, params
    own = jax.tree_util.tree_unflatten(tree, [leaf if one else None for one, leaf in zip(trains, leaves, strict=True)])

    @wraps(loss)
    def of_arrays(own: Any, *args: Any) -> Any:
        given = iter(jax.tree_util.tree_leaves(own))
        every = [next(given) if one else leaf for one, leaf in zip(trains, leaves, strict=True)]
        return loss(jax.tree_util.tree_unflatten(tree, every), *args)

    return of_arrays, own


def _of_a_library(params: Any) -> bool:
    return any(kind.__module__.split(".")[0] in _MODULES for kind in type(params).__mro__)


def _is_real(leaf: Any) -> bool:
    """An array by which something may be differentiated; complex ones too, of which the caller is told."""
    return isinstance(leaf, np.ndarray | np.generic | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _is_mask(leaf: Any) -> bool:
    """Infinity where something is left out, and one number elsewhere."""
    if not _is_real(leaf) or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return False
    values = np.asarray(leaf, np.float64)
    kept = values[np.isfinite(values)]
    return bool(np.isinf(values).any() and not np.isnan(values).any() and (kept == kept[:1]).all())
