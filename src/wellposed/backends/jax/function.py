"""A JAX function of arrays, as J(theta): what `jax.test_util.check_grads` is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.jax.problem import JaxProblem
from wellposed.errors import InputError


def function_problem(f: Callable[..., Any], args: Sequence[Any], seed: int = 0) -> JaxProblem:
    """J = Re <w, f(*args)> with one random cotangent w, as a function of every floating-point array in args.

    Integers, booleans and keys stay as they are; a complex array is a pair of real ones. Raises `InputError` where
    there is nothing to differentiate, or f returns no floating-point array.
    """
    if not callable(f):
        raise InputError(f"f must be a function, not a {type(f).__name__}")
    if not isinstance(args, tuple | list):
        raise InputError(
            f"args must be a tuple of f's arguments, not a {type(args).__name__}", hint="check_grads(f, (x,), order=1)"
        )
    leaves, tree = jax.tree_util.tree_flatten_with_path(tuple(args))
    moving = [index for index, (_, leaf) in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    if not moving:
        raise InputError("args holds no floating-point array", hint="check_grads(f, (x,), order=1)")
    names = _names(f, len(args))
    params: dict[str, Any] = {}
    for index in moving:
        path, leaf = leaves[index]
        label = names[path[0].idx] + "".join(str(key) for key in path[1:])
        array = jnp.asarray(leaf)
        params[label] = jnp.stack([array.real, array.imag]) if jnp.iscomplexobj(array) else array
    complexes = {index for index in moving if jnp.iscomplexobj(leaves[index][1])}
    fixed = [leaf for _, leaf in leaves]

    def called(parts: dict[str, Any]) -> Any:
        every = list(fixed)
        for index, part in zip(moving, parts.values(), strict=True):
            every[index] = jax.lax.complex(part[0], part[1]) if index in complexes else part
        return f(*jax.tree_util.tree_unflatten(tree, every))

    def loss(parts: dict[str, Any]) -> Any:
        draw, total = np.random.default_rng(seed), 0.0
        for leaf in jax.tree_util.tree_leaves(called(dict(zip(params, (parts[name] for name in params), strict=True)))):
            output = jnp.asarray(leaf)
            if jnp.issubdtype(output.dtype, jnp.complexfloating):
                total += _weighted(output.real, draw) + _weighted(output.imag, draw)
            elif jnp.issubdtype(output.dtype, jnp.floating):
                total += _weighted(output, draw)
        if isinstance(total, float):
            raise InputError("f must return a floating-point array or several")
        return total

    problem = JaxProblem(loss, params)
    problem.cuts_count = True
    return problem


def second_order(
    f: Callable[..., Any], args: Sequence[Any], seed: int = 1
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The gradient of f as a function of its own, at the same arguments: (function, arguments) for another check."""
    problem = function_problem(f, args, seed)
    return _GradientOf(problem.loss, problem.layout.names), tuple(problem._leaves.values())


def derivative_along(
    f: Callable[..., Any], args: Sequence[Any], seed: int = 1
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The derivative of f along one random direction, by forward mode, as a function at the same arguments: for another
    check.
    """
    problem = function_problem(f, args, seed)
    draw = np.random.default_rng(seed)
    loss, names = problem.loss, list(problem.layout.names)
    along = {name: jnp.asarray(draw.standard_normal(leaf.shape), leaf.dtype) for name, leaf in problem._leaves.items()}

    def derivative(*arrays: Any) -> Any:
        given = dict(zip(names, arrays, strict=True))
        return jax.jvp(loss, (given,), ({name: along[name].astype(given[name].dtype) for name in names},))[1]

    return derivative, tuple(problem._leaves.values())


class _GradientOf:
    """The gradient of a loss of named arrays, as a function of these arrays."""

    def __init__(self, loss: Callable[[dict[str, Any]], Any], names: Sequence[str]) -> None:
        self.loss, self.names = loss, list(names)

    def __call__(self, *arrays: Any) -> Any:
        return jax.grad(self.loss)(dict(zip(self.names, arrays, strict=True)))


def _weighted(output: Any, draw: np.random.Generator) -> Any:
    return jnp.sum(output * jnp.asarray(draw.standard_normal(output.shape), dtype=output.dtype))


def _names(f: Callable[..., Any], count: int) -> list[str]:
    if isinstance(f, _GradientOf):
        return f.names
    numbered = [f"args[{index}]" for index in range(count)]
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return numbered
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return positional[:count] if len(positional) >= count else numbered
