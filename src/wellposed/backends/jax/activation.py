"""A JAX function as a function of a float64 NumPy array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.numerics.activations import Activation
from wellposed.numerics.arrays import Vector


def activation_of(function: Callable[[Any], Any]) -> Activation:
    def phi(z: Vector) -> Vector:
        with jax.enable_x64(True):
            return np.asarray(function(jnp.asarray(z)), dtype=np.float64)

    return phi
