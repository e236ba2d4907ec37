"""Two JAX functions, run at the same points in float64, in their own format, and with a twist."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wellposed.backends.fixed_sizes import may_be_fixed
from wellposed.backends.jax.drawn import drawn_in_float32
from wellposed.backends.jax.evaluation import as_numpy
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.variations import about_size, is_of_its_kind, is_whole, off_zero, varied
from wellposed.backends.ways import ALONE, LEAST_NUDGE, NUDGE, SCALED, Passed, Twist, Variation, Way
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array
from wellposed.users_code import Raised, ask, attempt

_FORMATS = ("bfloat16", "float16", "float32", "float64")
"""Real ones, the coarsest first."""
_OTHER_SIZES = 4  # each is compiled three times
_DRAWS = ("random_bits", "random_split", "random_fold_in", "threefry2x32", "rng_bit_generator", "rng_uniform")


class JaxWays:
    """`reference(*inputs)` and `candidate(*inputs)`: functions of arrays and pytrees of them, differentiated by every
    floating-point array among them; the gradients are `jax.vjp`'s.

    Outputs are whatever floating-point arrays are returned, each with a random cotangent of its own; that of a loss is
    1. Nothing is laid out otherwise or cached by the framework, so such twists give None. Raises `InputError` where no
    input is a floating-point array.
    """

    def __init__(
        self,
        reference: Callable[..., Any],
        candidate: Callable[..., Any],
        inputs: Any,
        compiled: dict[Any, Any] | None = None,
    ) -> None:
        """`compiled`: what was compiled for other inputs."""
        self.runs = 0
        self._compiled = {} if compiled is None else compiled
        self.why, self.refuses = "", ""
        self.beside: tuple[str, ...] = ()
        self._reference, self._candidate = reference, candidate
        given = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        paths, self._tree = jax.tree_util.tree_flatten_with_path(given)
        self._leaves = [leaf for _, leaf in paths]
        self._moving = {
            f"inputs{jax.tree_util.keystr(path)}": place for place, (path, leaf) in enumerate(paths) if _is_real(leaf)
        }
        if not self._moving:
            raise InputError("no input is a floating-point array", hint="wp.check_paths(reference, candidate, (x, w))")
        self._random = Randomness(*owned_generators(reference, candidate))
        self._settle()

    def _settle(self) -> None:
        """The coarsest format that the candidate computes in, and numbers that it has."""
        given = self._arrays()
        forward = jax.make_jaxpr(lambda *leaves: self._called(self._candidate, leaves))(*given)
        incoming = {
            name: jnp.asarray(array) for name, array in self._incoming(self._shapes(self._candidate, given), 0).items()
        }
        jaxpr = jax.make_jaxpr(lambda *leaves: self._vjp(self._candidate, leaves, incoming))(*given)
        seen = {str(leaf.dtype) for leaf in self._arrays()} | set(_formats(jaxpr.jaxpr))
        coarsest = next((name for name in _FORMATS if name in seen), "float64")
        known = _about(coarsest)
        self.format, self.unit = coarsest, float(known.eps) / 2
        self.least = float(known.smallest_normal) * float(known.eps)
        self._step = max(float(known.eps), LEAST_NUDGE / NUDGE)
        self._in_same_format = any(str(leaf.dtype) == coarsest for leaf in self._arrays())
        self._start = {name: self._rounded(as_numpy(self._leaves[place])) for name, place in self._moving.items()}
        self._draws = _draws(jaxpr.jaxpr) > _draws(forward.jaxpr)

    def _arrays(self) -> list[Any]:
        return [jnp.asarray(self._leaves[place]) for place in self._moving.values()]

    def left_as_it_was(self) -> Any:
        return nullcontext()

    def passed(self, way: Way, point: int, twist: Twist = "") -> Passed | None:
        if twist not in ("", "again", "float64", "off-zero"):
            return None
        if way == "reference" and not self._in_same_format:
            return None
        wide = way == "exact" or twist == "float64"
        function = self._candidate if way == "candidate" else self._reference
        if way == "candidate" and twist in ("", "off-zero"):
            return self._pass(function, point, twist, wide=wide)
        made = attempt(lambda: self._pass(function, point, twist, wide=wide), ours=True)
        if isinstance(made, Raised):
            self.why = self.why or (made.line if way == "exact" else "")
            return None
        return made

    def _pass(self, function: Any, point: int, twist: Twist, *, wide: bool) -> Passed:
        self.runs += 1
        with self._random.fixed(), _in_float64(wide):
            dtypes = [jnp.float64 if wide else self._leaves[place].dtype for place in self._moving.values()]
            values = [self._values_at(name, point, twist) for name in self._moving]
            leaves = [jnp.asarray(value).astype(dtype) for value, dtype in zip(values, dtypes, strict=True)]
            incoming = self._incoming(self._shapes(function, leaves), point)
            outputs, gradients = self._run(function, leaves, incoming)
            numbers = {name: as_numpy(array) for name, array in outputs.items()}
            named = dict(zip(self._moving, map(as_numpy, gradients), strict=True))
        return Passed(numbers, named, drew=self._draws)

    def _called(self, function: Any, moving: Sequence[Any]) -> dict[str, Any]:
        every = list(self._leaves)
        for place, leaf in zip(self._moving.values(), moving, strict=True):
            every[place] = leaf
        made = function(*jax.tree_util.tree_unflatten(self._tree, every))
        found = {
            f"{ALONE}{jax.tree_util.keystr(path)}": jnp.asarray(leaf)
            for path, leaf in jax.tree_util.tree_flatten_with_path(made)[0]
            if _is_real(leaf)
        }
        if not found:
            raise InputError("the candidate returns no floating-point array", hint="return outputs, or a loss")
        return found if len(found) > 1 else dict.fromkeys((ALONE,), *found.values())

    def _shapes(self, function: Any, leaves: Sequence[Any]) -> dict[str, Any]:
        found: dict[str, Any] = jax.eval_shape(lambda *moving: self._called(function, moving), *leaves)
        return found

    def _vjp(self, function: Any, leaves: Sequence[Any], incoming: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        outputs, back = jax.vjp(lambda *moving: self._called(function, moving), *leaves)
        return outputs, back(incoming)

    def _run(self, function: Any, leaves: Sequence[Any], incoming: dict[str, Any]) -> Any:
        """Compiled, as training is; step by step what cannot be."""
        fixed = [id(leaf) for place, leaf in enumerate(self._leaves) if place not in self._moving.values()]
        key = (id(function), *fixed)
        if key not in self._compiled:
            self._compiled[key] = self._leaves, jax.jit(lambda *given: self._vjp(function, *given))
        incoming = jax.tree_util.tree_map(jnp.asarray, incoming)
        made = attempt(lambda: self._compiled[key][1](leaves, incoming))
        return self._vjp(function, leaves, incoming) if isinstance(made, Raised) else made

    def _incoming(self, outputs: dict[str, Any], point: int) -> dict[str, Any]:
        return {name: self._cotangent(name, output, point).astype(output.dtype) for name, output in outputs.items()}

    def _cotangent(self, name: str, output: Any, point: int) -> Array:
        if output.size == 1 and name == ALONE:
            value = np.full(output.shape, SCALED if getattr(self, "format", "") == "float16" else 1.0)
        else:
            drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(output.shape)
            value = drawn.astype("bfloat16").astype(np.float64)
        return self._nudged(value, point, 1000) if point else value

    def _values_at(self, name: str, point: int, twist: Twist) -> Array:
        start, place = self._start[name], self._moving[name]
        value = self._nudged(start, point, place, wide=twist == "float64") if point else start
        return off_zero(value, point, place) if twist == "off-zero" else value

    def _nudged(self, value: Array, point: int, place: int, *, wide: bool = False) -> Array:
        """To numbers of the coarse format, or between them."""
        moves = np.random.default_rng((point, place)).integers(-NUDGE, NUDGE + 1, value.shape)
        moved = value * (1 + self._step * moves)
        return moved if wide else self._rounded(moved)

    def _rounded(self, value: Array) -> Array:
        coarse = value.astype(self.format).astype(np.float64)
        return np.where(np.isfinite(coarse), coarse, value)

    def values(self, name: str, point: int) -> Array | None:
        return self._values_at(name, point, "")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(np.shape(leaf) for leaf in self._leaves)

    @property
    def of_inputs_alone(self) -> bool:
        return True

    @property
    def other_sizes(self) -> int:
        return _OTHER_SIZES

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted({size for value in self._start.values() for size in value.shape}))

    def cut(self, size: int, to: int) -> JaxWays | None:
        whole = [np.asarray(leaf) for leaf in self._leaves if _is_plain(leaf) and is_whole(np.asarray(leaf))]
        if about_size(whole, size, to) or may_be_fixed(size, self._reference, self._candidate):
            return None
        parts = [_cut(leaf, size, to) for leaf in self._leaves]
        data = [place for place in range(len(parts)) if place not in self._moving.values() and _is_plain(parts[place])]
        kind = all(is_of_its_kind(np.asarray(parts[place]), np.asarray(self._leaves[place])) for place in data)
        return self._on(parts) if kind else None

    def varied(self, variation: Variation) -> JaxWays | None:
        if self.format == "float16" and variation in ("large", "small"):
            return None
        changed = [self._varied(leaf, variation) for leaf in self._leaves]
        return (
            None if all(one is other for one, other in zip(changed, self._leaves, strict=True)) else self._on(changed)
        )

    def _varied(self, leaf: Any, variation: Variation) -> Any:
        if not _is_plain(leaf):
            return leaf
        moved = _is_real(leaf)
        made = varied(as_numpy(leaf) if moved else np.asarray(leaf), variation, moved=moved)
        return leaf if made is None else jnp.asarray(made, leaf.dtype)

    def _on(self, leaves: list[Any]) -> JaxWays | None:
        inputs = jax.tree_util.tree_unflatten(self._tree, leaves)
        return ask(lambda: JaxWays(self._reference, self._candidate, inputs, self._compiled), None)

    def come_nearer(self) -> bool:
        nearest = float(_about(self.format).eps) / NUDGE
        further, self._step = self._step > nearest, nearest
        return further


@contextmanager
def _in_float64(wide: bool) -> Iterator[None]:
    if not wide or jnp.result_type(float) == jnp.float64:  # then the candidate draws in float64 too
        yield
        return
    with jax.enable_x64(True), drawn_in_float32():
        yield


def _about(name: str) -> Any:
    """The limits of a format."""
    return jnp.finfo(name)  # type: ignore[no-untyped-call]


def _cut(leaf: Any, size: int, to: int) -> Any:
    shape = np.shape(leaf)
    return leaf[tuple(slice(to if length == size else None) for length in shape)] if shape else leaf


def _is_plain(leaf: Any) -> bool:
    """An array of numbers: no key, and nothing else that a function may take."""
    return hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)


def _is_real(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _formats(jaxpr: Any) -> Iterator[str]:
    """Of everything that is computed, within loops, rules and kernels too."""
    for equation in jaxpr.eqns:
        yield from (str(getattr(variable.aval, "dtype", "")) for variable in equation.outvars)
        for inner in core.jaxprs_in_params(equation.params):
            yield from _formats(inner)


def _draws(jaxpr: Any) -> int:
    """How often it asks for random numbers or keys."""
    inner = sum(map(_draws, (part for equation in jaxpr.eqns for part in core.jaxprs_in_params(equation.params))))
    return inner + sum(equation.primitive.name in _DRAWS for equation in jaxpr.eqns)
