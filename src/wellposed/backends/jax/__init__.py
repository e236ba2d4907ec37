"""JAX: imported only when the caller's own objects are JAX's."""

from wellposed.backends.jax.problem import JaxProblem

__all__ = ["JaxProblem"]
