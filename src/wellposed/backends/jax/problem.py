"""A JAX loss and a pytree of parameters, as J(theta)."""

from __future__ import annotations

from typing import Any

from wellposed.backends.jax.optimizer import JaxOptimizer
from wellposed.backends.jax.variants import JaxVariants


class JaxProblem(JaxVariants, JaxOptimizer):
    """J(theta) = loss(params, *args); `params` is any pytree. Its floating-point arrays are the parameters; what else a
    model of a library keeps among its leaves (functions, counters, keys, masks of -inf) is passed on as it is.

    A parameter's name is its path in the pytree: `{"layers": [{"w": ...}]}` gives `layers.0.w`.
    The first array in `args` counts as the inputs. `optimizer` is the one that will train the problem, with optax's
    `init` and `update`, which see the parameters with None in place of all else, as `equinox.filter` gives them. Raises
    `InputError`, naming the parameter, for complex leaves, NaN, or a loss that is not one number.
    """

    def _made_of(self, loss: Any, params: Any, *args: Any, optimizer: Any = None) -> JaxProblem:
        return JaxProblem(loss, params, *args, optimizer=optimizer)
