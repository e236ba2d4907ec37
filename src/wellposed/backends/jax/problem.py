"""A JAX loss and a pytree of parameters, as J(theta)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.closures import reachable
from wellposed.backends.exclusive import exclusively
from wellposed.backends.jax.calls import Call, custom_calls, with_stops_held, without_stops
from wellposed.backends.jax.first_not_finite import first_not_finite
from wellposed.backends.jax.recorder import record
from wellposed.backends.measured import Cut, NotFinite, Run, Uncut, parameter_size
from wellposed.backends.precision import same_gradient, same_loss
from wellposed.backends.protocol import Differentiation, Held, Network, Part, Problem, Training, Variants
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, Theta, as_vector, move_by_its_size
from wellposed.users_code import Raised, ask, attempt

_PLAIN = [
    np.dtype(name) for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32")
]


class JaxProblem(Problem, Differentiation, Network, Training, Variants):
    """J(theta) = loss(params, *args); `params` is any pytree of floating-point arrays.

    A parameter's name is its path in the pytree: `{"layers": [{"w": ...}]}` gives `layers.0.w`.
    The first array in `args` counts as the inputs. Raises `InputError`, naming the parameter, for
    integer leaves, NaN, or a loss that is not one number.
    """

    backend = "jax"
    _random: Randomness

    def __init__(self, loss: Callable[..., Any], params: Any, *args: Any) -> None:
        if not callable(loss):
            raise InputError(
                f"loss must be a function of (params, *args), not a {type(loss).__name__}",
                hint="JaxProblem(loss, params, inputs, targets)",
            )
        leaves, self._tree = jax.tree_util.tree_flatten_with_path(params)
        if not leaves:
            raise InputError("params holds no array", hint="JaxProblem(loss, params, inputs, targets)")
        self.loss, self.args = loss, args
        self._leaves = {name_of(path): _checked(name_of(path), leaf) for path, leaf in leaves}
        self._layout = Layout({name: tuple(leaf.shape) for name, leaf in self._leaves.items()})
        self._random = Randomness(*owned_generators(loss))
        self._wide = False
        self._pointwise: tuple[Callable[[Vector], Vector], Vector] | None = None
        self.dtype = "+".join(sorted({leaf.dtype.name for leaf in self._leaves.values()}))

    @property
    def layout(self) -> Layout:
        return self._layout

    def theta(self) -> Vector:
        return self._layout.pack({name: _numpy(leaf) for name, leaf in self._leaves.items()})

    def stored(self, theta: Vector) -> Vector:
        if self.dtype == "float64":
            return theta
        with self._precision():
            return self._layout.pack({name: _numpy(leaf) for name, leaf in self._arrays(theta).items()})

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

    def gradient_of_multiple(self, theta: Theta, factor: float) -> Gradient:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            return self._named(jax.grad(lambda params: factor * self._scalar(params))(self._params(theta)))

    def jvp(self, theta: Vector, u: Vector) -> float:
        with self._precision(), self._random.fixed():
            return float(jax.jvp(self._scalar, (self._params(theta),), (self._params(u),))[1])

    def run(self, theta: Theta | None = None) -> Run:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            params = self._params(self.theta() if theta is None else theta)
            operations = tuple(record(self._scalar, params, self._layout.names).operations)
            gradient = self._named(jax.grad(self._scalar)(params))
            values = zip(self._layout.names, map(_numpy, jax.tree_util.tree_leaves(params)), strict=True)
            return Run(
                operations, None, gradient, {name: parameter_size(value, gradient[name]) for name, value in values}
            )

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            return first_not_finite(self._scalar, self._params(theta))

    def inputs(self) -> Array | None:
        for leaf in jax.tree_util.tree_leaves(self.args):
            if hasattr(leaf, "ndim") and leaf.ndim > 0 and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return np.asarray(leaf) if leaf.dtype != jnp.bfloat16 else np.asarray(leaf, dtype=np.float32)
        return None

    def parts(self, theta: Theta) -> list[Part]:
        with self._precision(), self._random.fixed():
            calls = custom_calls(self._scalar, self._params(theta))
        return [part for call in calls if (part := self._part(call)) is not None]

    def _part(self, call: Call) -> Part | None:
        moving = [k for k, value in enumerate(call.arguments) if jnp.issubdtype(jnp.result_type(value), jnp.floating)]
        if not moving or not all(bool(jnp.isfinite(call.arguments[k]).all()) for k in moving):
            return None

        def outputs(params: dict[str, Any]) -> list[Any]:
            arguments = list(call.arguments)
            for k in moving:
                arguments[k] = params[f"argument {k}"]
            found = call.function(*arguments)
            return [one for one in found if one is not None and jnp.issubdtype(jnp.result_type(one), jnp.floating)]

        def loss(params: dict[str, Any]) -> Any:
            return sum(jnp.sum(one * back) for one, back in zip(outputs(params), call.cotangents, strict=True))

        with self._precision():
            problem = JaxProblem(loss, {f"argument {k}": call.arguments[k] for k in moving})
        problem._wide, problem.context, problem.is_part = self._wide, self.data(), True
        first = f"argument {moving[0]}"
        if len(moving) == len(call.cotangents) == 1 and call.cotangents[0].shape == problem._leaves[first].shape:
            problem._pointwise = (
                lambda x: _numpy(outputs({first: jnp.asarray(x).astype(problem._leaves[first].dtype)})[0]),
                _numpy(call.cotangents[0]),
            )
        return Part(call.name, "", problem)

    def pointwise(self) -> tuple[Callable[[Vector], Vector], Vector] | None:
        if self._pointwise is None:
            return None
        f, cotangent = self._pointwise

        def precisely(x: Vector) -> Vector:
            with self._precision():
                return f(x)

        return precisely, cotangent

    def held(self, theta: Theta) -> Held | None:
        with self._precision(), self._random.fixed():
            made = ask(lambda: with_stops_held(self._scalar, self._params(theta)), None)
        if made is None:  # the loss cannot be traced
            return None
        loss, passed = made
        return _Held(self, loss) if passed else None

    def uncut(self, theta: Theta) -> Uncut | None:
        with self._precision(), self._random.fixed():
            through, count = without_stops(self._scalar, self._params(theta))
            if not count:
                return None
            return Uncut(self._named(jax.grad(through)(self._params(theta))), "stop_gradient")

    def data(self) -> dict[str, Array]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(self.args)
        arrays = {"args" + jax.tree_util.keystr(path): leaf for path, leaf in leaves}
        arrays |= {name: thing for name, thing in reachable(self.loss) if isinstance(thing, np.ndarray | jax.Array)}
        return {name: np.asarray(a) for name, a in arrays.items() if jnp.result_type(a) in _PLAIN} | super().data()

    @contextmanager
    def preserved(self) -> Iterator[None]:
        with exclusively(), self._random.fixed():
            yield

    def precise(self) -> Problem:
        """The same loss with all floating-point arrays in float64, where it runs so; else this problem."""
        if self.dtype == "float64":
            return self
        return ask(self._double, None) or self  # a dtype that the loss was not written for

    def _double(self) -> JaxProblem | None:
        """In float64; None where that is another loss, or one without the gradient."""
        with jax.enable_x64(True):
            params = jax.tree_util.tree_unflatten(self._tree, [_to_double(leaf) for leaf in self._leaves.values()])
            twin = JaxProblem(self.loss, params, *jax.tree_util.tree_map(_to_double, self.args))
            twin._wide, twin.trained_in, twin.cuts_count = True, self.dtype, self.cuts_count
        theta = self.theta()
        mine, its = self.value(theta), twin.value(theta)
        if not _has_gradient(twin, theta) and _has_gradient(self, theta):
            return None

        def elsewhere(least: float) -> tuple[float, float]:
            other = self.stored(as_vector(move_by_its_size(self._layout, theta, least=least)))
            return self.value(other), twin.value(other)

        same = same_loss(mine, its, elsewhere) or (
            _has_gradient(twin, theta) and same_gradient(self.gradient(theta), twin.gradient(theta))
        )
        return twin if same else None

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
        return dict(zip(self._layout.names, map(_numpy, jax.tree_util.tree_leaves(gradient)), strict=True))


class _Held:
    """A problem with what passes stop_gradient held; see `backends.protocol.Held`."""

    broken = False

    def __init__(self, problem: JaxProblem, loss: Callable[[Any], Any]) -> None:
        self._problem = problem
        self.problem = copy.copy(problem)
        self.problem.loss = lambda params, *_args: loss(params)
        self.cuts = (Cut("stop_gradient"),)

    def freed(self, *cuts: Cut) -> Problem:
        return self._problem

    def nudged(self, cut: Cut) -> Problem:
        return self.problem


def _has_gradient(problem: JaxProblem, theta: Vector) -> bool:
    """A function of forward mode alone has none either."""
    return not isinstance(attempt(lambda: problem.gradient(theta), ours=True), Raised)


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
            hint="keep counters and keys out of params, or pass them in args",
        )
    if not bool(jnp.isfinite(array).all()):
        raise InputError(f"parameter {name!r} contains NaN or infinity; there is nothing to check at such a point")
    return array


def _to_double(leaf: Any) -> Any:
    floating = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(np.asarray(leaf, dtype=np.float64)) if floating else leaf


def _numpy(leaf: Any) -> Vector:
    return np.array(leaf, dtype=np.float64)
