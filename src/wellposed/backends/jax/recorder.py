"""The operations of a JAX function, read from its jaxpr; gradients by zero taps.

The jaxpr is evaluated equation by equation. A number of zero is added to the output of every
operation of interest; the gradient with respect to these zeros is the gradient at the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wellposed.backends.jax.elementwise import CALLS, PASSING, Chain, call, extend, name_of_call, number_of
from wellposed.backends.measured import Operation, OperationKind, WeightUse, flatness_of, signal_of
from wellposed.numerics.activations import Activation

_REDUCTIONS = {"reduce_sum", "dot_general"}


class _Scale(Enum):
    """Steps on the way to the factor of a normalisation: a sum over entries, its root, one over its root."""

    NONE, SUM, ROOT, FACTOR = range(4)


@dataclass(frozen=True)
class _Traced:
    """A value and where it came from: operations, or one parameter (with the order of its axes).

    `chain`: what elementwise function of one operation's output it is, `number`: the number that it is, spread or not.
    """

    value: Any
    sources: tuple[int, ...] = ()
    parameter: str = ""
    axes: tuple[int, ...] | None = None
    chain: Chain | None = None
    number: Any = None
    scale: _Scale = _Scale.NONE

    @property
    def direct(self) -> bool:
        """Whether it is an operation's own output."""
        return self.chain is not None and self.chain.steps == 0


def record(loss: Callable[[Any], Any], params: Any, names: tuple[str, ...]) -> Walk:
    """A walk with every weighted operation and activation of loss(params), with its output and gradient signals."""
    closed = jax.make_jaxpr(loss)(params)
    leaves = jax.tree_util.tree_leaves(params)
    pilot = Walk(names, None)
    pilot.run(closed, leaves)
    # A comparison, as the derivative of a ReLU within the loss has them, has no gradient.
    zeros = [jnp.zeros_like(output) if _real(output) else jnp.zeros(()) for output in pilot.outputs]

    def tapped(taps: list[Any]) -> Any:
        return Walk(names, taps).run(closed, leaves)

    gradients = jax.grad(tapped)(zeros) if zeros else []
    pilot.operations = [
        replace(operation, output=signal_of(np.asarray(output)), gradient=signal_of(np.asarray(gradient)))
        for operation, output, gradient in zip(pilot.operations, pilot.outputs, gradients, strict=True)
    ]
    return pilot


def _real(value: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(value), jnp.floating))


class Walk:
    """One evaluation of the jaxpr; without taps it also notes the operations and their outputs."""

    def __init__(self, names: tuple[str, ...], taps: list[Any] | None) -> None:
        self._parameters, self._taps = names, taps
        self._seen = 0
        self._names: dict[Chain, str] = {}
        self._activations: dict[tuple[Chain, tuple[int, ...]], _Traced] = {}
        self.operations: list[Operation] = []
        self.outputs: list[Any] = []
        self.looked_up: set[str] = set()  # parameters of which rows are picked out: embeddings

    def run(self, closed: Any, leaves: list[Any]) -> Any:
        inputs = [
            _Traced(leaf, parameter=name, axes=tuple(range(leaf.ndim)), number=number_of(leaf))
            for name, leaf in zip(self._parameters, leaves, strict=True)
        ]
        return self._evaluate(closed, inputs)[0].value

    def _evaluate(self, closed: Any, inputs: list[_Traced]) -> list[_Traced]:
        known: dict[Any, _Traced] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        known |= {
            var: _Traced(const, number=number_of(const))
            for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)
        }

        def read(var: Any) -> _Traced:
            return _Traced(var.val, number=number_of(var.val)) if isinstance(var, core.Literal) else known[var]

        for equation in closed.jaxpr.eqns:
            arguments = [read(var) for var in equation.invars]
            known |= dict(zip(equation.outvars, self._equation(closed.jaxpr, equation, arguments), strict=True))
        return [read(var) for var in closed.jaxpr.outvars]

    def _equation(self, inside: Any, equation: Any, arguments: list[_Traced]) -> list[_Traced]:
        primitive = equation.primitive.name
        parameters = any(argument.parameter for argument in arguments)
        biased = primitive == "add" and parameters and any(argument.direct for argument in arguments)
        whole = primitive == "custom_jvp_call" and not parameters  # has a derivative of its own
        one = None if biased else self._extended(equation, arguments)
        if primitive in CALLS and one is None and not whole:
            return self._evaluate(call(equation), arguments)
        use = _use(primitive, equation.params, arguments)
        if primitive == "gather" and arguments[0].parameter:
            self.looked_up.add(arguments[0].parameter)
        sources = _sources(arguments)
        if one is None and primitive not in PASSING:
            arguments = [self._settled(argument, always=bool(use) or len(sources) > 1) for argument in arguments]
            sources = _sources(arguments)
        results = evaluate(inside, equation, [argument.value for argument in arguments])
        if use:
            name = use.name.rpartition(".")[0] or use.name
            read = arguments[1 if arguments[0].parameter else 0].value
            return [
                self._note(name, "conv" if "conv" in primitive else "linear", primitive, sources, results[0], use, read)
            ]
        if biased and len(sources) == 1:
            return [self._with_bias(arguments, sources[0], results[0])]
        scale = _scaled(primitive, arguments)
        if scale is None:
            return [self._note("norm", "norm", "norm", sources, results[0])]
        if primitive in ("add", "sub") and len(sources) > 1 and one is None:
            return [self._note(primitive, "add", primitive, sources, results[0])]
        parameter, axes = _viewed(primitive, equation.params, arguments)
        chain, number = (one, None) if isinstance(one, Chain) else (None, one)
        return [_Traced(value, sources, parameter, axes, chain, number, scale) for value in results]

    def _extended(self, equation: Any, arguments: list[_Traced]) -> Any:
        """What the equation makes: an elementwise function of an operation's output, a number, or None for neither."""
        if len(equation.outvars) != 1:
            return None
        given = [argument.chain if argument.chain is not None else argument.number for argument in arguments]
        one = extend(equation, given)
        named = name_of_call(equation.params) if equation.primitive.name in CALLS else ""
        if (
            isinstance(one, Chain)
            and one.steps
            and named
            and all(argument.direct for argument in arguments if argument.chain is not None)
        ):
            self._names[one] = named
        return one

    def _settled(self, argument: _Traced, *, always: bool) -> _Traced:
        """What ends a chain reads an operation: the activation. Once for all of its readers."""
        chain = argument.chain
        if chain is None or not chain.steps or not (chain.bends or always):
            return argument
        key = (chain, np.shape(argument.value))
        if key not in self._activations:
            self._activations[key] = self._activation(chain, argument.value)
        return self._activations[key]

    def _activation(self, chain: Chain, value: Any) -> _Traced:
        if self._taps is not None:
            return self._note("", "activation", "", (chain.source,), value)
        name, phi = chain.activation()
        name = self._names.get(chain, name) if name == "elementwise" else name
        return self._note(name, "activation", name, (chain.source,), value, read=self.outputs[chain.source], phi=phi)

    def _note(
        self,
        name: str,
        kind: OperationKind,
        function: str,
        sources: tuple[int, ...],
        value: Any,
        use: WeightUse | None = None,
        read: Any = None,
        phi: Activation | None = None,
    ) -> _Traced:
        index = self._seen
        self._seen += 1
        if self._taps is not None:
            value = value + self._taps[index] if _real(value) else value
            return _Traced(value, (index,), chain=Chain(index))
        nothing = signal_of(np.zeros(1))  # replaced once all outputs and gradients are known
        flat = None if phi is None or read is None else flatness_of(np.asarray(read), phi)
        source = signal_of(np.asarray(read)) if use and read is not None else None
        self.operations.append(
            Operation(name, kind, function, sources, nothing, None, use, phi, source, flat, reads_batch=not sources)
        )
        self.outputs.append(value)
        return _Traced(value, (index,), chain=Chain(index))

    def _with_bias(self, arguments: list[_Traced], source: int, value: Any) -> _Traced:
        """x W + b is one operation: its output is the sum, whose gradient is that of x W."""
        if (
            self._taps is None
            and self.operations[source].weight is not None
            and np.shape(value) == np.shape(self.outputs[source])
        ):
            bias = next(argument.parameter for argument in arguments if argument.parameter)
            use = self.operations[source].weight
            assert use is not None
            self.operations[source] = replace(self.operations[source], weight=replace(use, bias=bias))
            self.outputs[source] = value
        return _Traced(value, (source,), chain=Chain(source))


def evaluate(inside: Any, equation: Any, values: list[Any]) -> list[Any]:
    """One equation of the jaxpr `inside` by itself, through JAX's own evaluation; an output that nothing reads may be
    None.
    """
    given = {
        var: value for var, value in zip(equation.invars, values, strict=True) if not isinstance(var, core.Literal)
    }
    read = [var for var in equation.outvars if type(var).__name__ != "DropVar"]
    alone = inside.replace(constvars=[], invars=list(given), outvars=read, eqns=[equation], effects=equation.effects)
    results = iter(core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*given.values()))
    return [next(results) if var in read else None for var in equation.outvars]


def _sources(arguments: list[_Traced]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(source for argument in arguments for source in argument.sources))


def _viewed(primitive: str, params: dict[str, Any], arguments: list[_Traced]) -> tuple[str, tuple[int, ...] | None]:
    """The parameter that the equation shows in another shape, and the order of its axes where it is known; ("", None)
    for any other.
    """
    if len(arguments) != 1 or primitive not in PASSING | {"transpose"}:
        return "", None
    (argument,) = arguments
    if primitive == "transpose" and argument.axes is not None:
        return argument.parameter, tuple(argument.axes[i] for i in params["permutation"])
    return argument.parameter, argument.axes if primitive in ("convert_element_type", "copy") else None


def _scaled(primitive: str, arguments: list[_Traced]) -> _Scale | None:
    """How near what the equation makes is to the factor of a normalisation; None where it is one: x over a root of a
    sum over x.
    """
    signals = [argument for argument in arguments if argument.sources]
    if primitive in _REDUCTIONS:
        return _Scale.SUM if signals else _Scale.NONE
    scales = [argument.scale for argument in signals]
    if len(signals) == 2 and signals[0].sources == signals[1].sources and _Scale.NONE in scales:
        divided = primitive == "div" and arguments[1].scale is _Scale.ROOT
        return None if divided or (primitive == "mul" and _Scale.FACTOR in scales) else _Scale.NONE
    if not scales or _Scale.NONE in scales:
        return _Scale.NONE
    least = min(scales, key=lambda scale: scale.value)
    if primitive in ("sqrt", "rsqrt") and least is _Scale.SUM:
        return _Scale.ROOT if primitive == "sqrt" else _Scale.FACTOR
    return _Scale.FACTOR if primitive == "div" and arguments[-1].scale is _Scale.ROOT else least


def _use(primitive: str, params: dict[str, Any], arguments: list[_Traced]) -> WeightUse | None:
    if primitive == "dot_general":
        contracted, batched = params["dimension_numbers"]
        for side, argument in enumerate(arguments):
            shape = np.shape(argument.value)
            if argument.parameter and argument.axes and not batched[side] and len(shape) >= 2:
                free = [axis for axis in range(len(shape)) if axis not in contracted[side]]
                if not free:
                    continue
                return WeightUse(
                    argument.parameter,
                    "",
                    prod(shape[axis] for axis in contracted[side]),
                    prod(shape[axis] for axis in free),
                    tuple(argument.axes[axis] for axis in free),
                    tuple(argument.axes[axis] for axis in contracted[side]),
                )
    if primitive == "conv_general_dilated" and arguments[1].parameter and arguments[1].axes:
        kernel = arguments[1]
        shape = np.shape(kernel.value)
        out, into = params["dimension_numbers"].rhs_spec[:2]
        receptive = prod(shape) / shape[out] / shape[into]
        # A dilated input (a transposed convolution) fills only one in prod(dilation) of the kernel's taps.
        density = 1 / prod(params["lhs_dilation"])
        axes = kernel.axes or ()
        return WeightUse(
            kernel.parameter,
            "",
            shape[into] * receptive * density,
            shape[out] * receptive / params["feature_group_count"] / prod(params["window_strides"]),
            (axes[out],),
            tuple(axis for number, axis in enumerate(axes) if number != out),
        )
    return None
