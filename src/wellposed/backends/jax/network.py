"""The network within a JAX problem: its data, what the loss is made of, what depends on what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.closures import reachable
from wellposed.backends.jax.evaluation import JaxEvaluation, as_numpy
from wellposed.backends.jax.objective import arguments_of, reach_in
from wellposed.backends.jax.program import JaxProgram
from wellposed.backends.jax.recorder import record
from wellposed.backends.jax.reshapes import reshapes_in, softmaxes_over
from wellposed.backends.jax.terms import terms_of
from wellposed.backends.measured import Dependence, LossArguments, Run, parameter_size
from wellposed.backends.protocol import Network
from wellposed.backends.structure.dependence import dependence_of
from wellposed.backends.structure.shown import Reach, Reshape, Term
from wellposed.numerics.arrays import Array
from wellposed.numerics.theta import Theta
from wellposed.users_code import ask

_PLAIN = [
    np.dtype(name) for name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32")
]


class JaxNetwork(JaxEvaluation, Network):
    """What the jaxpr shows, which is traced once."""

    _program: tuple[Any, JaxProgram | None] | None = None

    def run(self, theta: Theta | None = None) -> Run:
        self.evaluations += 1
        with self._precision(), self._random.fixed():
            params = self._params(self.theta() if theta is None else theta)
            operations = tuple(record(self._scalar, params, self._layout.names).operations)
            gradient = self._named(jax.grad(self._scalar)(params))
            values = zip(self._layout.names, map(as_numpy, jax.tree_util.tree_leaves(params)), strict=True)
            return Run(
                operations, None, gradient, {name: parameter_size(value, gradient[name]) for name, value in values}
            )

    def inputs(self) -> Array | None:
        for leaf in jax.tree_util.tree_leaves(self.args):
            if hasattr(leaf, "ndim") and leaf.ndim > 0 and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return np.asarray(leaf) if leaf.dtype != jnp.bfloat16 else np.asarray(leaf, dtype=np.float32)
        return None

    def data(self) -> dict[str, Array]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(self.args)
        arrays = {"args" + jax.tree_util.keystr(path): leaf for path, leaf in leaves}
        arrays |= {name: thing for name, thing in reachable(self.loss) if isinstance(thing, np.ndarray | jax.Array)}
        return {name: np.asarray(a) for name, a in arrays.items() if jnp.result_type(a) in _PLAIN} | super().data()

    @contextmanager
    def _programmed(self, theta: Theta | None = None) -> Iterator[JaxProgram | None]:
        with self._precision(), self._random.fixed():
            params = self._params(self.theta() if theta is None else theta)
            if self._program is None or self._program[0] is not self.loss:  # of a copy with another loss
                self._program = self.loss, ask(lambda: JaxProgram(self.loss, params, self.args), None)
            made = self._program[1]
            yield made if made is None or theta is None else made.at(params)

    @contextmanager
    def program(self) -> Iterator[JaxProgram | None]:
        with self._programmed() as program:
            yield program

    def loss_arguments(self) -> list[LossArguments]:
        with self._programmed() as program:
            return [] if program is None else ask(lambda: arguments_of(program), [])

    def dependence(self, theta: Theta) -> Dependence | None:
        with self._programmed(theta) as program:
            if program is None:
                return None
            rows = {len(leaf) for leaf in program.inputs.values() if leaf.ndim}
            mixers = softmaxes_over(program.flat, program.outputs, 0, rows.pop()) if len(rows) == 1 else []
            mixer = f"a softmax over axis 0, at {mixers[0]}," if mixers else ""
            return ask(lambda: dependence_of(program, mixer), None)

    def terms(self, theta: Theta, moved: Theta) -> list[Term]:
        with self._programmed(theta) as program, self._programmed(moved) as there:
            if program is None or there is None:
                return []
            return ask(lambda: terms_of(program, there.parameter_values), [])

    def reshapes(self) -> tuple[Reshape, ...]:
        with self._programmed() as program:
            if program is None:
                return ()
            rows = next((len(leaf) for leaf in program.inputs.values() if leaf.ndim), 0)
            return reshapes_in(program.flat, program.outputs, rows)

    def reach(self) -> Reach | None:
        with self._programmed() as program:
            if program is None:
                return None
            over_one = tuple(softmaxes_over(program.flat, program.outputs))
            return ask(lambda: reach_in(program, over_one), Reach(over_one) if over_one else None)
