"""Hand-written backpropagation: two functions and a dictionary of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from wellposed.backends.closures import reachable
from wellposed.backends.exclusive import exclusively
from wellposed.backends.lines import find_raise
from wellposed.backends.measured import NotFinite, Operation, Run, parameter_size, signal_of
from wellposed.backends.protocol import Differentiation, Network, Problem, Training, Variants
from wellposed.backends.randomness import Randomness, owned_generators
from wellposed.backends.tape import Tape
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.theta import Gradient, Layout, Theta
from wellposed.users_code import ask


class FunctionProblem(Problem, Differentiation, Network, Training, Variants):
    """J(theta) from a function and its hand-written gradient.

    `params` maps names to arrays. `value(params)` returns the loss as one number; `gradient(params)` a mapping of the
    same names to arrays of the same shapes. Both get fresh copies, so nothing they do to their argument reaches the
    caller's arrays. `activations(params)`, where given, shows what the layers make: a mapping, in the order in which
    they run, from names to pairs of a layer's output [N, ...] and the loss's gradient with respect to it (or to the
    output alone), so that signals can be judged too. Raises `InputError`, naming the parameter, where any of that does
    not hold.
    """

    backend = "numpy"
    _random: Randomness
    handwritten = True

    def __init__(
        self,
        value: Callable[[dict[str, Array]], Any],
        gradient: Callable[[dict[str, Array]], Mapping[str, Any]],
        params: Mapping[str, Any],
        *,
        activations: Callable[[dict[str, Array]], Mapping[str, Any]] | None = None,
    ) -> None:
        if not isinstance(params, Mapping) or not params:
            raise InputError(
                "params must be a non-empty mapping from names to arrays",
                hint="FunctionProblem(value, gradient, {'W1': W1, 'b1': b1})",
            )
        self._value, self._gradient, self._activations = value, gradient, activations
        self._params = {str(name): _floating(str(name), array) for name, array in params.items()}
        self._layout = Layout({name: array.shape for name, array in self._params.items()})
        self._random = Randomness(*owned_generators(value, gradient))
        self.dtype = "+".join(sorted({array.dtype.name for array in self._params.values()}))

    @property
    def layout(self) -> Layout:
        return self._layout

    def theta(self) -> Vector:
        return self._layout.pack(self._params)

    def stored(self, theta: Vector) -> Vector:
        return self._layout.pack(self._arrays(theta))

    def value(self, theta: Theta) -> float:
        self.evaluations += 1
        with self._random.fixed(seen=self.evaluations > 1):
            returned = self._value(self._arrays(theta))
        loss = _as_array(returned, "what value(params) returned", "return one number: the loss over the batch")
        if loss.size != 1 or loss.dtype.kind not in "fiu":
            raise InputError(
                f"value(params) must return one number, but it returned {loss.dtype} of shape {loss.shape}",
                hint="take the mean or the sum over the batch",
            )
        return float(loss.reshape(()))

    def gradient(self, theta: Theta) -> Gradient:
        self.evaluations += 1
        with self._random.fixed():
            given = self._gradient(self._arrays(theta))
        if not isinstance(given, Mapping):
            raise InputError(
                f"gradient(params) must return a mapping from names to arrays, not {type(given).__name__}",
                hint="return {'W1': dW1, 'b1': db1}",
            )
        missing = [name for name in self._layout.names if name not in given]
        if missing:
            raise InputError(
                f"gradient(params) gave no entry for {', '.join(map(repr, missing))}",
                hint="return one array per parameter, under the parameter's own name",
            )
        unknown = [str(name) for name in given if name not in self._layout.shapes]
        if unknown:
            raise InputError(
                f"gradient(params) gave entries that are no parameters: {', '.join(map(repr, unknown))}",
                hint=f"the parameters are {', '.join(map(repr, self._layout.names))}",
            )
        return {name: self._checked(name, given[name]) for name in self._layout.names}

    def run(self, theta: Theta | None = None) -> Run | None:
        """The layers that `activations` shows, as a chain; None without it."""
        if self._activations is None:
            return None
        theta = self.theta() if theta is None else theta
        with self._random.fixed():
            shown = self._activations(self._arrays(theta))
        if not isinstance(shown, Mapping):
            raise InputError(
                f"activations(params) must return a mapping from layers' names to arrays, not {type(shown).__name__}",
                hint="return {'layer 1': (z1, dz1), 'layer 2': (z2, dz2)}",
            )
        operations = [_layer(index, str(name), made) for index, (name, made) in enumerate(shown.items())]
        gradient, weights = self.gradient(theta), self._layout.unpack(theta)
        sizes = {name: parameter_size(weights[name], gradient[name]) for name in self._layout.names}
        return Run(tuple(operations), None, gradient, sizes)

    def first_not_finite(self, theta: Theta) -> NotFinite | None:
        """By NumPy's own floating-point errors, raised where they happen; the operands are not known."""
        params = self._arrays(theta)
        with self._random.fixed(), np.errstate(all="ignore"):
            loss = np.isfinite(self._value(params))
            parts = {name: np.asarray(part) for name, part in self._gradient(params).items() if part is not None}
        wrong = next((name for name, part in parts.items() if not np.isfinite(part).all()), "")
        if loss and not wrong:
            return None
        backward = bool(loss)
        with self._random.fixed(), np.errstate(divide="raise", over="raise", invalid="raise"):
            try:
                (self._gradient if backward else self._value)(params)
            except FloatingPointError as error:
                return NotFinite(
                    str(error),
                    wrong,
                    find_raise(error.__traceback__, ("numpy", "wellposed")),
                    backward,
                    "NaN or infinity",
                    (),
                )
        return NotFinite("an operation that NumPy does not watch", wrong, "", backward, "NaN or infinity", ())

    def taped(self, theta: Theta, tape: Tape) -> float | None:
        self.evaluations += 1
        with self._random.fixed(seen=True):
            return ask(lambda: tape.run(self._value, self._arrays(theta)), None)  # on arrays of another class

    def data(self) -> dict[str, Array]:
        """Arrays that `value` and `gradient` close over, or find among their globals."""
        own = {id(array) for array in self._params.values()}
        found: dict[str, Array] = {}
        for function in (self._value, self._gradient):
            for name, thing in reachable(function):
                if isinstance(thing, np.ndarray) and thing.dtype.kind in "iuf" and id(thing) not in own:
                    found.setdefault(name, thing)
        return found

    @contextmanager
    def preserved(self) -> Iterator[None]:
        with exclusively(), self._random.fixed():
            yield

    def _arrays(self, theta: Theta) -> dict[str, Array]:
        return {name: array.astype(self._params[name].dtype) for name, array in self._layout.unpack(theta).items()}

    def _checked(self, name: str, given: Any) -> Vector | None:
        if given is None:
            return None
        array = _as_array(given, f"the gradient of {name!r}", "return one array for each parameter, of its shape")
        shape = self._layout.shapes[name]
        if array.dtype.kind not in "fiu":
            raise InputError(f"the gradient of {name!r} has dtype {array.dtype}, which is not real numbers")
        if array.shape != shape:
            raise InputError(
                f"the gradient of {name!r} has shape {array.shape}, but the parameter has shape {shape}",
                hint="a bias gradient summed with keepdims=True or over the wrong axis looks like this",
            )
        return array.astype(np.float64)


def _layer(index: int, name: str, made: Any) -> Operation:
    output, back = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    arrays = [np.asarray(array) for array in (output, back) if array is not None]
    if (
        any(array.dtype.kind not in "fiu" or array.ndim < 1 for array in arrays)
        or len({array.shape for array in arrays}) > 1
    ):
        what = " and ".join(f"{array.dtype} of shape {array.shape}" for array in arrays)
        raise InputError(
            f"activations(params) gave {what} for {name!r}",
            hint=(
                "give the layer's output, an array [N, ...], or that and the loss's gradient with respect to it, of the"
                " same shape"
            ),
        )
    gradient = signal_of(arrays[1]) if len(arrays) > 1 else None
    return Operation(name, "linear", "", (index - 1,) if index else (), signal_of(arrays[0]), gradient)


def _as_array(given: Any, called: str, hint: str) -> Array:
    """Raises `InputError` for a list of arrays whose shapes differ."""
    try:
        return np.asarray(given)
    except ValueError as error:
        shapes = ask(lambda: " of shapes " + ", ".join(str(np.shape(one)) for one in given), "")
        raise InputError(f"{called} is no array, but a {type(given).__name__}{shapes}", hint=hint) from error


def _floating(name: str, given: Any) -> Array:
    several = "give each array a name of its own: {" + f"'{name}1': {name}[0], '{name}2': {name}[1], ..." + "}"
    array = _as_array(given, f"parameter {name!r}", several)
    if array.dtype.kind != "f":
        raise InputError(
            f"parameter {name!r} has dtype {array.dtype}; a derivative needs floating-point numbers",
            hint=f"params[{name!r}] = params[{name!r}].astype(float)",
        )
    if not np.isfinite(array).all():
        raise InputError(f"parameter {name!r} contains NaN or infinity; there is nothing to check at such a point")
    return array.copy()
