"""A JAX loss as a model and a loss, functions of arrays: it is cut where all that depends on the parameters passes one
value, the outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wellposed.backends.closures import reachable
from wellposed.backends.jax.ends import Part, parts_of, passed_by_all
from wellposed.backends.jax.flat import Flat, Step
from wellposed.backends.jax.lines import line_of
from wellposed.backends.structure.program import UNCHANGED, Note, Program, Sent
from wellposed.numerics.arrays import Array

_RANDOM = ("random_", "threefry")


class JaxProgram(Program):
    """`loss` is a function of the parameters and of the arguments. Where these hold no array, what the loss closes over
    are the data. Outputs are what comes first of what all of a term passes; each term has its own.
    """

    pure = True

    def __init__(self, loss: Callable[..., Any], params: Any, args: Any) -> None:
        self._loss = loss
        self._params, self._tree = jax.tree_util.tree_flatten(params)
        paths, self._args_tree = jax.tree_util.tree_flatten_with_path(args)
        self._others = [leaf for _, leaf in paths]
        self._names = {
            "args" + jax.tree_util.keystr(path): place for place, (path, leaf) in enumerate(paths) if _is_data(leaf)
        }
        data = [self._others[place] for place in self._names.values()]
        self.flat = Flat(self._scalar, self._params, data)
        count = len(self._params)
        self.parameters = self.flat.reached(self.flat.inputs[:count])
        self._at: dict[int, Any] = dict(zip(self.flat.inputs, [*self._params, *data], strict=True))
        self.places = dict(zip(self._names, self.flat.inputs[count:], strict=True)) or self._closed_over()
        self.parts = parts_of(self.flat)
        self.chains = [passed_by_all(self.flat, part.place, self.parameters) for part in self.parts]
        self._cuts = self._cuts_of()
        steps = self.flat.behind(self._cuts)
        read = {place for step in steps for place in step.reads}
        after = {
            place
            for cut, part in self._cuts.items()
            for step in self.flat.behind([part.place], [cut])
            for place in step.reads
        }
        arrays = {name: np.asarray(self._value_at(place)) for name, place in self.places.items()}
        self.inputs = {name: array for name, array in arrays.items() if self.places[name] in read}
        self.targets = {name: a for name, a in arrays.items() if name not in self.inputs or self.places[name] in after}
        self.recurrent = self._scans()
        self.complete = not self._closes_over_rows(read)
        self.draws = any(step.name.startswith(_RANDOM) for step in steps)

    def _scalar(self, params: list[Any], data: list[Any]) -> Any:
        leaves = list(self._others)
        for place, leaf in zip(self._names.values(), data, strict=True):
            leaves[place] = leaf
        args = jax.tree_util.tree_unflatten(self._args_tree, leaves)
        return jnp.reshape(self._loss(jax.tree_util.tree_unflatten(self._tree, params), *args), ())

    def _closed_over(self) -> dict[str, int]:
        arrays = [(name, thing) for name, thing in reachable(self._loss) if isinstance(thing, np.ndarray | jax.Array)]
        found: dict[str, int] = {}
        for place, value in self.flat.constants.items():
            if np.ndim(value):
                name = next((name for name, thing in arrays if _same(thing, value)), "")
                found |= {name: place} if name else {}
        return found

    def _value_at(self, place: int) -> Any:
        return self._at[place] if place in self._at else self.flat.constants[place]

    def _cuts_of(self) -> dict[int, Part]:
        """Where the outputs are, and the term that they go into."""
        found: dict[int, Part] = {}
        read = self.flat.reached(list(self.places.values()))
        for part, chain in zip(self.parts, self.chains, strict=True):
            outputs = next((place for place in chain if self.flat.shapes[place].shape and place in read), None)
            for place in chain if outputs is not None else ():
                step = self.flat.made_by.get(place)
                if step is not None and outputs in step.reads and _squeezes(self.flat, step):
                    outputs = place
            if outputs is not None and outputs not in found:
                found[outputs] = part
        return found

    def _scans(self) -> bool:
        """Whether a loop runs over what was read."""
        data = self.flat.reached(list(self.places.values()))
        for step in self.flat.steps:
            if step.name == "scan":
                given = step.equation.params["num_consts"] + step.equation.params["num_carry"]
                if data.intersection(step.reads[given:]):
                    return True
        return False

    def at(self, params: Any) -> JaxProgram:
        """The same program with other parameters."""
        assert self._compiled or not self._cuts  # and shared
        other = copy.copy(self)
        other._params = jax.tree_util.tree_leaves(params)
        other._at = self._at | dict(zip(self.flat.inputs, other._params, strict=False))
        for name in ("all_sent", "_before", "memo"):  # what was measured with these
            other.__dict__.pop(name, None)
        return other

    @property
    def outputs(self) -> tuple[int, ...]:
        """Their places in `flat`."""
        return tuple(self._cuts)

    @property
    def known(self) -> dict[int, Any]:
        """The parameters and the data, by their places."""
        return self._at

    @property
    def parameter_values(self) -> list[Any]:
        return self._params

    def leaves_of(self, params: Any, args: Any) -> list[Any]:
        """What `flat` is a function of."""
        others = jax.tree_util.tree_leaves(args)
        return [*jax.tree_util.tree_leaves(params), *(others[place] for place in self._names.values())]

    def value(self, place: int) -> Any:
        return self._forward(self._at, place) if place in self._cuts else self.flat.evaluate(self._at, [place])[0]

    def _closes_over_rows(self, read: set[int]) -> bool:
        """Whether a constant among what outputs read has as many rows as an input."""
        rows = {len(array) for array in self.inputs.values() if array.ndim}
        constants = read.intersection(self.flat.constants).difference(self.places.values())
        return any(self.flat.shapes[place].shape[:1] == (count,) for place in constants for count in rows)

    def passed(self, changed: Mapping[str, Array] = UNCHANGED, place: int | None = None) -> Array | None:
        known = {name: array for name, array in changed.items() if name in self.places}
        if any(array.shape != self.flat.shapes[self.places[name]].shape for name, array in known.items()):
            return self._otherwise(known).passed(place=place)
        places = list(self._cuts)
        if place is None:
            place = next((k for k, one in enumerate(places) if len(self.flat.shapes[one].shape) > 1), None)
        if place is None or place >= len(places):
            return None
        made = np.asarray(self._forward(self._known(known), places[place]), dtype=np.float32 if _coarse(self) else None)
        return made if bool(np.isfinite(made).all()) else None

    def _otherwise(self, changed: Mapping[str, Array]) -> JaxProgram:
        """With arrays of other shapes in place of these."""
        params = jax.tree_util.tree_unflatten(self._tree, self._params)
        return JaxProgram(self._loss, params, self.args_with(changed))

    def args_with(self, changed: Mapping[str, Array]) -> Any:
        """The arguments of the loss with these in place; what it closes over stays."""
        leaves = list(self._others)
        for name, place in self._names.items():
            if name in changed:
                leaves[place] = _as(changed[name], leaves[place])
        return jax.tree_util.tree_unflatten(self._args_tree, leaves)

    def _known(self, changed: Mapping[str, Array]) -> dict[int, Any]:
        return self._at | {self.places[name]: _as(a, self._value_at(self.places[name])) for name, a in changed.items()}

    @cached_property
    def _compiled(self) -> dict[int, Callable[[dict[int, Any]], Any]]:
        return {
            place: jax.jit(lambda known, place=place: self.flat.evaluate(known, [place])[0]) for place in self._cuts
        }

    def _forward(self, known: dict[int, Any], place: int) -> Any:
        return self._compiled[place](known)

    def sent(self) -> list[Sent]:
        found = []
        for number, place in enumerate(self._cuts):
            outputs = self._forward(self._at, place)
            slope = np.asarray(
                self._slope(place, outputs, self._at), dtype=np.float64 if _wide(outputs) else np.float32
            )
            if slope.any() and np.isfinite(slope).all():
                found.append(Sent(number, np.asarray(outputs, dtype=slope.dtype), slope))
        return found

    def _slope(self, place: int, outputs: Any, known: dict[int, Any]) -> Any:
        return self._compiled_slopes[place](outputs, known)

    @cached_property
    def _compiled_slopes(self) -> dict[int, Callable[[Any, dict[int, Any]], Any]]:
        def slope(place: int, part: Part) -> Callable[[Any, dict[int, Any]], Any]:
            def loss(outputs: Any, known: dict[int, Any]) -> Any:
                return part.factor * jnp.sum(self.flat.evaluate({**known, place: outputs}, [part.place])[0])

            return jax.jit(jax.grad(loss))

        return {place: slope(place, part) for place, part in self._cuts.items()}

    def slope_at(self, place: int, outputs: Array, changed: Mapping[str, Array] = UNCHANGED) -> Array | None:
        cut = list(self._cuts)[place]
        given = jnp.asarray(outputs, dtype=self.flat.shapes[cut].dtype)
        known = self._known({name: array for name, array in changed.items() if name in self.places})
        return np.asarray(self._slope(cut, given, known), dtype=outputs.dtype)

    def watched(self, changed: Mapping[str, Array], place: int, note: Note) -> Array | None:
        cut = list(self._cuts)[place]
        steps = [
            step
            for step in self.flat.behind([cut])
            if len(step.makes) == 1 and self.flat.shapes[step.makes[0]].dtype.kind == "f"
        ]
        values = self.flat.evaluate(self._known(changed), [step.makes[0] for step in steps])
        for step, value in zip(steps, values, strict=True):
            note(line_of(step.equation), np.asarray(value))
        return self.passed(changed, place)


def _squeezes(flat: Flat, step: Step) -> bool:
    """Whether it does nothing but take axes of length 1 out."""
    before, after = (tuple(n for n in flat.shapes[one].shape if n != 1) for one in (step.reads[0], step.makes[0]))
    return step.name in ("squeeze", "reshape") and before == after


def _is_data(leaf: Any) -> bool:
    if not isinstance(leaf, np.ndarray | jax.Array) or not np.ndim(leaf):
        return False
    return jnp.result_type(leaf).kind in "iufb" or jnp.result_type(leaf) == jnp.bfloat16


def _same(thing: Any, value: Any) -> bool:
    return thing is value or (
        np.shape(thing) == np.shape(value) and _is_data(thing) and bool(np.array_equal(np.asarray(thing), value))
    )


def _as(array: Array, leaf: Any) -> Any:
    return jnp.asarray(array, dtype=jnp.result_type(leaf))


def _wide(outputs: Any) -> bool:
    return bool(jnp.result_type(outputs) == jnp.float64)


def _coarse(program: JaxProgram) -> bool:
    return any(program.flat.shapes[place].dtype == jnp.bfloat16 for place in program._cuts)
