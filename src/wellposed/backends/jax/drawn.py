"""Random numbers in float64 that are those of float32: generators give others for other formats."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from wellposed.backends.patches import Patches

_OF_A_FORMAT = (
    "uniform", "normal", "truncated_normal", "gumbel", "exponential", "laplace", "logistic", "cauchy", "rademacher",
    "beta", "gamma", "t", "maxwell", "rayleigh", "ball",
)  # fmt: skip
_OF_A_PROBABILITY = ("bernoulli", "categorical")


@contextmanager
def drawn_in_float32() -> Iterator[None]:
    """Within it `jax.random` draws as it does without x64, and gives float64 where that or nothing was asked for."""
    with Patches() as patches:
        for name in _OF_A_FORMAT:
            patches.put(jax.random, name, _in_float32)
        for name in _OF_A_PROBABILITY:
            patches.put(jax.random, name, _of_float32)
        yield


def _in_float32(own: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def draw(*args: Any, **named: Any) -> Any:
        given = inspect.signature(own).bind(*args, **named)
        asked = given.arguments.get("dtype")
        if asked is not None and asked is not float and jnp.dtype(asked) != jnp.float64:
            return own(*args, **named)
        given.arguments["dtype"] = jnp.float32
        return own(*given.args, **given.kwargs).astype(jnp.float64)

    return draw


def _of_float32(own: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(own)
    def draw(key: Any, *args: Any, **named: Any) -> Any:
        args, named = jax.tree_util.tree_map(_lowered, (args, named))
        return own(key, *args, **named)

    return draw


def _lowered(thing: Any) -> Any:
    if isinstance(thing, float) or getattr(thing, "dtype", None) == jnp.float64:
        return jnp.asarray(thing, jnp.float32)
    return thing
