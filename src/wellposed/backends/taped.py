"""A dictionary of NumPy arrays and a function of it, watched on a tape, as a model whose weights can be set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from wellposed.backends.fitting import Fitting
from wellposed.backends.initializable import Initializable, Parameter
from wellposed.backends.measured import Operation, Run, WeightUse, signal_of
from wellposed.backends.tape import Tape
from wellposed.errors import InputError
from wellposed.numerics.activations import Activation
from wellposed.numerics.arrays import Array, Vector, root_mean_square
from wellposed.numerics.fans import Fan
from wellposed.users_code import Raised, attempt

_PRODUCTS = ("matmul", "dot")
_HINT = "give a function of it that runs the model: wp.initialize(params, lambda params: forward(params, x))"


class TapedInitializable(Initializable):
    """`function(params)` returns what the model makes of a batch, or its loss, by NumPy alone. The arrays are changed
    in place.
    """

    def __init__(self, params: dict[str, Array], function: Any) -> None:
        if function is None:
            raise InputError("a dictionary of arrays does not say what its weights do", hint=_HINT)
        if not callable(function):
            raise InputError(
                "for a dictionary of arrays, batch is a function of it that runs the model, not a"
                f" {type(function).__name__}",
                hint=_HINT,
            )
        for name, array in params.items():
            if array.dtype.kind != "f":
                raise InputError(f"parameter {name!r} has dtype {array.dtype}; weights are floating-point numbers")
        self._params, self._function = params, function
        self._reading = _Reading(Tape())

    def run(self) -> Run:
        tape = Tape()
        made = attempt(lambda: tape.run(self._number, self._params), ours=True)
        if isinstance(made, Raised):
            said = f"{type(made.error).__name__}: {made.error}"
            raise InputError(f"the function could not be run on the arrays: {said}", hint=_HINT) from made.error
        self._reading = _Reading(tape)
        return Run(tuple(self._reading.operations(self._activation)))

    def parameters(self) -> tuple[Parameter, ...]:
        uses = {use.name: use for use in self._reading.uses.values()}
        biases = {use.bias for use in uses.values()}
        return tuple(
            (
                Parameter(
                    name,
                    array.shape,
                    "weight",
                    name,
                    "",
                    array.flags.writeable,
                    Fan(uses[name].fan_in, uses[name].fan_out),
                )
                if name in uses
                else Parameter(
                    name, array.shape, "bias" if name in biases else "other", name, "", array.flags.writeable
                )
            )
            for name, array in self._params.items()
        )

    def weights(self) -> dict[str, Vector]:
        return {name: array.astype(np.float64) for name, array in self._params.items()}

    def assign(self, values: Mapping[str, Vector]) -> None:
        for name, value in values.items():
            if self._params[name].flags.writeable:  # others are frozen
                self._params[name][...] = value

    def params(self) -> Any:
        return self._params

    def calibrate(self, targets: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        fitting = Fitting(targets, root_mean_square)
        Tape(changed={node: partial(fitting.scaled, use.name) for node, use in self._reading.uses.items()}).run(
            self._number, self._params
        )
        return fitting.factors

    def _number(self, params: dict[str, Array]) -> Any:
        made = self._function(params)
        parts = made.values() if isinstance(made, Mapping) else made if isinstance(made, tuple | list) else [made]
        return sum(np.mean(part) for part in parts)

    def _activation(self, read: int, made: int) -> Activation:
        """The elementwise function from one node to another, by running all again with numbers of one's own in the
        first.
        """
        shape = self._reading.tape.nodes[read].result.shape
        size = int(np.prod(shape))

        def phi(z: Vector) -> Vector:
            flat, out = z.reshape(-1), np.empty(z.size)
            for start in range(0, z.size, size):
                part = flat[start : start + size]
                tape = Tape(held={read: np.resize(part, size).reshape(shape)})
                tape.run(self._number, {name: array.astype(np.float64) for name, array in self._params.items()})
                out[start : start + size] = tape.nodes[made].result.reshape(-1)[: part.size]
            return out.reshape(z.shape)

        return phi


class _Reading:
    """What the nodes of a tape are in a network: products with a parameter, their biases, activations and sums."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.uses: dict[int, WeightUse] = {}  # by the node that holds what the weight makes, its bias included

    def operations(self, activation: Callable[[int, int], Activation]) -> list[Operation]:
        nodes, found, at = (
            self.tape.nodes,
            list[Operation](),
            dict[int, int](),
        )  # at: the operation that a node is the output of
        for index, node in enumerate(nodes):
            use = self._use(index)
            if use is not None:
                place = self._with_bias(index)
                use = WeightUse(use.name, self._bias(place, index), use.fan_in, use.fan_out, use.out_axes, use.in_axes)
                self.uses[place] = use
                read = node.left if self._parameter(node.right) else node.right
                inputs = self._source(read, found, at, activation)
                source = (
                    signal_of(nodes[read].result)
                    if read >= 0
                    else signal_of(node.operands[0 if self._parameter(node.right) else 1])
                )
                made = signal_of(nodes[place].result)
                found.append(
                    Operation(
                        use.name,
                        "linear",
                        node.operation,
                        inputs,
                        made,
                        weight=use,
                        source=source,
                        reads_batch=not inputs,
                    )
                )
                at[place] = len(found) - 1
            elif node.operation in ("add", "subtract") and index not in self.uses and min(node.left, node.right) >= 0:
                sources = [self._source(side, found, at, activation) for side in (node.left, node.right)]
                if all(sources) and sources[0] != sources[1]:
                    found.append(
                        Operation(
                            f"sum {index}", "add", node.operation, (*sources[0], *sources[1]), signal_of(node.result)
                        )
                    )
                    at[index] = len(found) - 1
        return found

    def _source(
        self, node: int, found: list[Operation], at: dict[int, int], activation: Callable[[int, int], Activation]
    ) -> tuple[int, ...]:
        """The operation that a node comes from; an activation is made one here, where something reads it."""
        nodes = self.tape.nodes
        while node >= 0:
            if node in at:
                return (at[node],)
            root = nodes[node].root
            if root != node and root in at:
                name, made = f"activation of {found[at[root]].name}", signal_of(nodes[node].result)
                found.append(
                    Operation(name, "activation", "elementwise", (at[root],), made, activation=activation(root, node))
                )
                at[node] = len(found) - 1
                return (at[node],)
            node = nodes[node].last if root == node else root
        return ()

    def _parameter(self, node: int) -> str:
        """The name of the parameter that a node is, or is the transpose of."""
        if node < 0:
            return ""
        operation = self.tape.nodes[node].operation
        if operation == "transpose":
            return self._parameter(self.tape.nodes[node].last)
        return operation.removeprefix("parameter ") if operation.startswith("parameter ") else ""

    def _use(self, index: int) -> WeightUse | None:
        node = self.tape.nodes[index]
        if node.operation not in _PRODUCTS or len(node.operands) != 2:
            return None
        for side, other in ((node.right, 0), (node.left, 1)):
            name = self._parameter(side)
            if (
                name
                and self.tape.nodes[side].result.ndim == 2
                and not self._parameter(node.left if other == 0 else node.right)
            ):
                turned = self.tape.nodes[side].operation == "transpose"
                rows, columns = self.tape.nodes[side].result.shape
                into, out = (rows, columns) if other == 0 else (columns, rows)
                in_axis = (0 if other == 0 else 1) ^ turned
                return WeightUse(name, "", into, out, (1 - in_axis,), (in_axis,))
        return None

    def _with_bias(self, index: int) -> int:
        """The node at which a parameter is added to a product and nothing else, else the product's own."""
        for later in range(index + 1, len(self.tape.nodes)):
            node = self.tape.nodes[later]
            if node.operation == "add" and index in (node.left, node.right):
                return later if self._parameter(node.right if node.left == index else node.left) else index
        return index

    def _bias(self, place: int, index: int) -> str:
        node = self.tape.nodes[place]
        return "" if place == index else self._parameter(node.right if node.left == index else node.left)
