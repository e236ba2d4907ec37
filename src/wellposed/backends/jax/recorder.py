"""The operations of a JAX function, read from its jaxpr; gradients by zero taps.

The jaxpr is evaluated equation by equation. A number of zero is added to the output of every
operation of interest; the gradient with respect to these zeros is the gradient at the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from wellposed.backends.protocol import Operation, OperationKind, WeightUse, flatness_of, signal_of
from wellposed.numerics.activations import ALIASES, NAMED

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}
_PRIMITIVES = {"tanh": "tanh", "logistic": "sigmoid", "sin": "sin"}
_ARITHMETIC = {"linear", "square", "abs", "exponential"}
_PASSING = {"convert_element_type", "broadcast_in_dim", "reshape", "copy", "squeeze", "expand_dims"}


@dataclass(frozen=True)
class _Traced:
    """A value and where it came from: operations, or one parameter (with the order of its axes).

    `direct` marks an operation's own output: the tanh inside a gelu is no activation of the layer.
    """

    value: Any
    sources: tuple[int, ...] = ()
    direct: bool = False
    parameter: str = ""
    axes: tuple[int, ...] | None = None


def record(loss: Callable[[Any], Any], params: Any, names: tuple[str, ...]) -> tuple[Operation, ...]:
    """Every weighted operation and activation of loss(params), with its output and gradient signals."""
    closed = jax.make_jaxpr(loss)(params)
    leaves = jax.tree_util.tree_leaves(params)
    pilot = Walk(names, None)
    pilot.run(closed, leaves)
    zeros = [jnp.zeros_like(output) for output in pilot.outputs]

    def tapped(taps: list[Any]) -> Any:
        return Walk(names, taps).run(closed, leaves)

    gradients = jax.grad(tapped)(zeros) if zeros else []
    return tuple(
        replace(operation, output=signal_of(np.asarray(output)), gradient=signal_of(np.asarray(gradient)))
        for operation, output, gradient in zip(pilot.operations, pilot.outputs, gradients, strict=True)
    )


class Walk:
    """One evaluation of the jaxpr; without taps it also notes the operations and their outputs."""

    def __init__(self, names: tuple[str, ...], taps: list[Any] | None) -> None:
        self._names, self._taps = names, taps
        self._seen = 0
        self.operations: list[Operation] = []
        self.outputs: list[Any] = []

    def run(self, closed: Any, leaves: list[Any]) -> Any:
        inputs = [_Traced(leaf, parameter=name, axes=tuple(range(leaf.ndim))) for name, leaf in zip(self._names, leaves, strict=True)]
        return self._evaluate(closed, inputs)[0].value

    def _evaluate(self, closed: Any, inputs: list[_Traced]) -> list[_Traced]:
        known: dict[Any, _Traced] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
        known |= {var: _Traced(const) for var, const in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

        def read(var: Any) -> _Traced:
            return _Traced(var.val) if isinstance(var, core.Literal) else known[var]

        for equation in closed.jaxpr.eqns:
            arguments = [read(var) for var in equation.invars]
            known |= dict(zip(equation.outvars, self._equation(closed.jaxpr, equation, arguments), strict=True))
        return [read(var) for var in closed.jaxpr.outvars]

    def _equation(self, inside: Any, equation: Any, arguments: list[_Traced]) -> list[_Traced]:
        primitive = equation.primitive.name
        sources = tuple(dict.fromkeys(source for argument in arguments for source in argument.sources))
        activation = _activation(primitive, equation.params, arguments) if any(a.direct for a in arguments) else ""
        # A function with a derivative of its own is taken whole, unless weights of the network are at work in it.
        whole = primitive == "custom_jvp_call" and not any(argument.parameter for argument in arguments)
        if primitive in CALLS and not activation and not whole:
            inner = equation.params[CALLS[primitive]]
            return self._evaluate(inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ()), arguments)
        results = evaluated(inside, equation, [argument.value for argument in arguments])
        use = _use(primitive, equation.params, arguments)
        if use:
            return [
                self._note(
                    use.name.rpartition(".")[0] or use.name,
                    "conv" if "conv" in primitive else "linear",
                    primitive,
                    sources,
                    results[0],
                    use,
                    arguments[1 if arguments[0].parameter else 0].value,
                )
            ]
        if activation and sources:
            read = next(argument.value for argument in arguments if argument.direct)
            return [self._note(activation, "activation", activation, sources, results[0], read=read)]
        if primitive == "add" and len(sources) == 1 and self._is_bias(arguments) and any(a.direct for a in arguments):
            return [self._with_bias(arguments, sources[0], results[0])]
        if primitive in ("add", "sub") and len(sources) > 1:
            return [self._note(primitive, "add", primitive, sources, results[0])]
        parameter, axes = "", None
        if len(arguments) == 1 and arguments[0].parameter:
            parameter, axes = arguments[0].parameter, arguments[0].axes
            if primitive == "transpose" and axes is not None:
                axes = tuple(axes[i] for i in equation.params["permutation"])
            elif primitive not in ("convert_element_type", "copy"):
                axes = None
            if primitive not in _PASSING | {"transpose"}:
                parameter = ""
        direct = primitive in _PASSING and arguments[0].direct
        return [_Traced(value, sources, direct, parameter, axes) for value in results]

    def _note(
        self,
        name: str,
        kind: OperationKind,
        function: str,
        sources: tuple[int, ...],
        value: Any,
        use: WeightUse | None = None,
        read: Any = None,
    ) -> _Traced:
        index = self._seen
        self._seen += 1
        if self._taps is not None:
            return _Traced(value + self._taps[index], (index,), direct=True)
        phi = NAMED[function] if kind == "activation" else None
        nothing = signal_of(np.zeros(1))  # replaced once all outputs and gradients are known
        flat = None if phi is None or read is None else flatness_of(np.asarray(read), phi)
        source = signal_of(np.asarray(read)) if use and read is not None else None
        self.operations.append(Operation(name, kind, function, sources, nothing, None, use, phi, source, flat, reads_batch=not sources))
        self.outputs.append(value)
        return _Traced(value, (index,), direct=True)

    def _is_bias(self, arguments: list[_Traced]) -> bool:
        return any(argument.parameter for argument in arguments)

    def _with_bias(self, arguments: list[_Traced], source: int, value: Any) -> _Traced:
        """x W + b is one operation: its output is the sum, whose gradient is that of x W."""
        if self._taps is None and self.operations[source].weight is not None and np.shape(value) == np.shape(self.outputs[source]):
            bias = next(argument.parameter for argument in arguments if argument.parameter)
            use = self.operations[source].weight
            assert use is not None
            self.operations[source] = replace(self.operations[source], weight=replace(use, bias=bias))
            self.outputs[source] = value
        return _Traced(value, (source,), direct=True)


def evaluated(inside: Any, equation: Any, values: list[Any]) -> list[Any]:
    """One equation of the jaxpr `inside` by itself, through JAX's own evaluation; an output that nothing reads may be None."""
    given = {var: value for var, value in zip(equation.invars, values, strict=True) if not isinstance(var, core.Literal)}
    read = [var for var in equation.outvars if type(var).__name__ != "DropVar"]
    alone = inside.replace(constvars=[], invars=list(given), outvars=read, eqns=[equation], effects=equation.effects)
    results = iter(core.jaxpr_as_fun(core.ClosedJaxpr(alone, ()))(*given.values()))
    return [next(results) if var in read else None for var in equation.outvars]


def _activation(primitive: str, params: dict[str, Any], arguments: list[_Traced]) -> str:
    """The activation's name if this equation is one."""
    if primitive in ("jit", "pjit", "custom_jvp_call"):
        name = str(params.get("name") or _called(params))
        name = ALIASES.get(name, name)
        return name if name in NAMED and name not in _ARITHMETIC else ""
    if primitive == "max" and any(np.ndim(a.value) == 0 and not a.sources and _is_zero(a.value) for a in arguments):
        return "relu"
    return _PRIMITIVES.get(primitive, "")


def _called(params: dict[str, Any]) -> str:
    """The name of the function that a call with a derivative of its own wraps, where it is that alone."""
    inside = params["call_jaxpr"].jaxpr.eqns if "call_jaxpr" in params else []
    return str(inside[0].params.get("name", "")) if len(inside) == 1 else ""


def _is_zero(value: Any) -> bool:
    return not isinstance(value, jax.core.Tracer) and float(value) == 0.0


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
