"""A jaxpr as one list of equations, those of the functions that it calls put in place, to be evaluated in part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

from wellposed.backends.jax.elementwise import CALLS, call
from wellposed.backends.jax.recorder import evaluate

_STOPS = {"stop_gradient"}


class Step(NamedTuple):
    """An equation of the jaxpr `inside`, and the places of the values that it reads and makes."""

    equation: Any
    inside: Any
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    calls: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.equation.primitive.name)


class Flat:
    """Of a function of some arrays. Values are known by their place: `inputs` those of its arguments, `output` that of
    what it returns; `made_by` is the step that makes one, and `shapes` tells of each its shape and dtype.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        closed = jax.make_jaxpr(function)(*arguments)
        self.steps: list[Step] = []
        self.shapes: list[Any] = []
        self.constants: dict[int, Any] = {}
        self.inputs = tuple(self._place(var.aval) for var in closed.jaxpr.invars)
        (self.output,) = self._flatten(closed, self.inputs, ())
        self.made_by = {place: step for step in self.steps for place in step.makes}

    def evaluate(self, known: Mapping[int, Any], wanted: Sequence[int]) -> list[Any]:
        """The values at these places, where those in `known` are as given."""
        values = {**self.constants, **known}
        for step in self.behind(wanted, known):
            results = evaluate(step.inside, step.equation, [values[place] for place in step.reads])
            values |= {place: one for place, one in zip(step.makes, results, strict=True) if place not in known}
        return [values[place] for place in wanted]

    def behind(self, wanted: Collection[int], known: Collection[int] = ()) -> list[Step]:
        """The steps that values are made by, in order, but for what is known."""
        open_ones = set(wanted).difference(known)
        found = []
        for step in reversed(self.steps):
            if open_ones.intersection(step.makes):
                found.append(step)
                open_ones.difference_update(step.makes)
                open_ones.update(place for place in step.reads if place not in known)
        return found[::-1]

    def reached(self, sources: Collection[int], *, with_gradient: bool = False) -> set[int]:
        """What depends on these values; `with_gradient` only what does so through more than a stop_gradient or whole
        numbers.
        """
        found = set(sources)
        for step in self.steps:
            if with_gradient and step.name in _STOPS:
                continue
            if found.intersection(step.reads):
                found |= {p for p in step.makes if not with_gradient or self.shapes[p].dtype.kind not in "iub"}
        return found

    def _place(self, aval: Any) -> int:
        self.shapes.append(aval)
        return len(self.shapes) - 1

    def _constant(self, value: Any) -> int:
        place = self._place(jax.typeof(value))
        self.constants[place] = value
        return place

    def _flatten(self, closed: Any, arguments: Sequence[int], calls: tuple[str, ...]) -> list[int]:
        known = dict(zip(closed.jaxpr.invars, arguments, strict=True))
        known |= {var: self._constant(const) for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

        def read(var: Any) -> int:
            return self._constant(var.val) if isinstance(var, core.Literal) else known[var]

        for equation in closed.jaxpr.eqns:
            reads = tuple(read(var) for var in equation.invars)
            if equation.primitive.name in CALLS:
                makes = self._flatten(call(equation), reads, (*calls, str(equation.params.get("name", ""))))
            else:
                makes = [self._place(var.aval) for var in equation.outvars]
                self.steps.append(Step(equation, closed.jaxpr, reads, tuple(makes), calls))
            known |= dict(zip(equation.outvars, makes, strict=True))
        return [read(var) for var in closed.jaxpr.outvars]
