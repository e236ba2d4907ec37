"""What a JAX loss does to the outputs, known by its derivatives: that of a cross-entropy is the softmax less the
target, that of a squared error the distance to it. Names are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, log_softmax, logsumexp, softmax

from wellposed.backends.jax.ends import Part
from wellposed.backends.jax.flat import Flat
from wellposed.backends.jax.lines import asked_for_by, line_of
from wellposed.backends.jax.program import JaxProgram
from wellposed.backends.measured import LossArguments
from wellposed.backends.structure.reach import reach_of
from wellposed.backends.structure.shown import Reach
from wellposed.numerics.activations import NAMED
from wellposed.numerics.arrays import Array

_SAME = 1e-3  # relative: of one derivative and another, in float32
_EQUAL = 1e-5  # of the largest: of one function's values and another's
_COMBINED = {"add": "a sum", "sub": "a difference", "mul": "a product", "div": "a quotient",
             "max": "a maximum", "min": "a minimum"}  # fmt: skip
_ON_PURPOSE = {"expand_dims", "reshape", "_reshape", "broadcast_to", "_getitem", "rewriting_take", "outer", "meshgrid"}
_FEWEST_ROWS = 3
_LEFT_OUT = -100  # in place of a class index
_REAL = ("mse_loss", "l1_loss")
_DIFFER = 0.1  # of the spread: examples of a network whose last layer begins near 0 are nearer to each other
_FIXED = 1e-2  # of the spread: an eps beside small variances lets means and spreads differ by as much


class _At(NamedTuple):
    """A value between the last parameters and a term of the loss, and the derivative of the loss by it."""

    value: Array
    slope: Array


class Call(NamedTuple):
    """A function that the rest of a term is of a value, and what came before it, from the outputs on. `axis` counts
    the classes, where there are any.
    """

    function: str
    places: list[int]
    values: list[Array]
    targets: Array
    dtype: str
    axis: int

    @property
    def outputs(self) -> Array:
        """[N, classes, ...], without axes of one place behind them."""
        value = self.values[-1]
        value = np.moveaxis(value, self.axis, 1) if value.ndim > 1 else value
        return value.reshape(value.shape[:2] + tuple(size for size in value.shape[2:] if size > 1))

    @property
    def paired(self) -> Array:
        """The targets; in the outputs' shape where there is one for each."""
        return self.targets.reshape(self.outputs.shape) if self.targets.size == self.outputs.size else self.targets


def arguments_of(program: JaxProgram) -> list[LossArguments]:
    found = [
        LossArguments(call.function, call.outputs, call.paired, endings_of(call.values), _LEFT_OUT, call.dtype)
        for call in calls_of(program)
    ]
    return found + list(_broadcasts(program))


def reach_in(program: JaxProgram, over_one: tuple[str, ...]) -> Reach | None:
    for call in calls_of(program):
        if call.function in _REAL and call.targets.ndim > 1:
            ending, axes = next(iter(endings_of(call.values)), ""), _normalised(call.values)
            return reach_of(call.targets, ending, "a normalisation" if axes else "", axes, over_one)
    return Reach(over_one) if over_one else None


def _normalised(values: list[Array]) -> tuple[int, ...]:
    """The axes over which mean and spread are the same for all examples, wherever between outputs and loss; examples
    that hardly differ yet tell nothing.
    """
    for value in values:
        if value.shape != values[-1].shape or value.std(0).mean() <= _DIFFER * value.std():
            continue
        for axes in ((value.ndim - 1,), tuple(range(2, value.ndim)), tuple(range(1, value.ndim))):
            if not axes or value.ndim < 2:
                continue
            mean, spread, whole = value.mean(axes), value.std(axes), float(value.std()) or 1.0
            if np.abs(mean - mean[:1]).max() < _FIXED * whole and np.abs(spread - spread[:1]).max() < _FIXED * whole:
                return axes
    return ()


def calls_of(program: JaxProgram) -> list[Call]:
    if "calls" not in program.memo:
        program.memo["calls"] = list(_calls(program))
    found: list[Call] = program.memo["calls"]
    return found


def _calls(program: JaxProgram) -> Iterator[Call]:
    for part, chain in zip(program.parts, program.chains, strict=True):
        outputs = next((place for place in chain if place in program.outputs), None)
        if outputs is None:
            continue
        places = [place for place in chain[chain.index(outputs) :] if program.flat.shapes[place].size > 1]
        passed = _passed(program, part, places)
        for number, at in enumerate(passed):
            known = _known(at, program)
            if known is not None:
                function, targets, dtype, axis = known
                yield Call(
                    function, places[: number + 1], [one.value for one in passed[: number + 1]], targets, dtype, axis
                )


def _passed(program: JaxProgram, part: Part, places: list[int]) -> list[_At]:
    """All derivatives by one backward pass: of zeros that are added to each."""
    flat, first = program.flat, places[0]

    def tapped(taps: list[jax.Array], known: dict[int, Any]) -> tuple[jax.Array, list[jax.Array]]:
        start = known[first]
        known, made = {**known, first: start + taps[0]}, [start]
        for place, tap in zip(places[1:], taps[1:], strict=True):
            (value,) = flat.evaluate(known, [place])
            known[place] = value + tap
            made.append(value)
        return part.factor * jnp.sum(flat.evaluate(known, [part.place])[0]), made

    zeros = [jnp.zeros(flat.shapes[place].shape, flat.shapes[place].dtype) for place in places]
    slopes, made = jax.jit(jax.grad(tapped, has_aux=True))(zeros, {**program.known, first: program.value(first)})
    return [_At(_array(value), _array(slope)) for value, slope in zip(made, slopes, strict=True)]


def _known(at: _At, program: JaxProgram) -> tuple[str, Array, str, int] | None:
    """The function that the rest of the loss is of this value, its targets, their dtype and the axis of the classes."""
    value, slope = at
    if not slope.any() or not np.isfinite(slope).all() or not np.isfinite(value).all():
        return None
    for axis in range(1, value.ndim)[::-1]:
        classes = _classes(np.moveaxis(value, axis, -1), np.moveaxis(slope, axis, -1))
        if classes is not None and not _pairs(value, classes[1]):
            used = classes[1].reshape(len(value), *(size for size in classes[1].shape[1:] if size > 1))
            function = classes[0] if classes[0] == "cross_entropy" else _of_gathered(value, axis)
            return (function, *_given(program, used, value.shape[axis]), axis) if function else None
    for leaf in program.targets.values():
        if leaf.size == value.size:
            targets = leaf.reshape(value.shape).astype(np.float64)
            for function, expected in _distances(value, targets):
                if _alike(slope, expected):
                    return function, targets, "float32", min(1, value.ndim - 1)
    return None


def _of_gathered(value: Array, axis: int) -> str:
    """What the loss is that reads one number of each row: that may be anything but of probabilities."""
    for along in (axis, 0):
        if np.abs(logsumexp(value, along)).max() < _SAME:
            return "nll_loss"
        if value.min() >= 0 and np.abs(value.sum(along) - 1).max() < _SAME:
            return "a likelihood"
    return ""


def _pairs(value: Array, used: Array) -> bool:
    """Whether each row has a column of its own: what matches examples with each other has no axis of classes."""
    return value.ndim == 2 and value.shape[0] == value.shape[1] and len(np.unique(used)) == used.size


def _distances(value: Array, targets: Array) -> Iterator[tuple[str, Array]]:
    """Of each function the derivative, but for a factor."""
    yield "binary_cross_entropy_with_logits", expit(value) - targets
    if value.min() > 0 and value.max() < 1:
        yield "binary_cross_entropy", (value - targets) / (value * (1 - value))
    yield "mse_loss", value - targets
    signs = np.sign(value - targets)
    if signs.min() < 0 < signs.max():  # else any sum would be one
        yield "l1_loss", signs


def _classes(value: Array, slope: Array) -> tuple[str, Array] | None:
    """The classes in use, [...], where the loss is a cross-entropy of scores or of their logarithms."""
    if value.shape[-1] < 2:
        return None
    used, counted = slope.argmin(-1), slope.any(-1)
    onehot = np.arange(value.shape[-1]) == used[..., None]
    lowest = slope.min(-1, keepdims=True)
    if (lowest[counted] >= 0).any():
        return None
    if not (slope * ~onehot).any():
        return "nll_loss", np.where(counted, used, _LEFT_OUT)
    expected = softmax(value, -1) - onehot
    own = np.take_along_axis(expected, used[..., None], -1)
    weight = np.where(own < 0, lowest / np.where(own < 0, own, -1.0), 0.0)
    wrong = float(np.linalg.norm(slope - weight * expected)) / float(np.linalg.norm(slope))
    return ("cross_entropy", np.where(counted, used, _LEFT_OUT)) if wrong < _SAME else None


def _given(program: JaxProgram, used: Array, classes: int) -> tuple[Array, str]:
    """The class indices as they were given, which may be others than there are, with -100 for what is left out."""
    for leaf in program.targets.values():
        if leaf.dtype.kind in "iu" and leaf.size == used.size:
            given = leaf.reshape(used.shape)
            counted = used >= 0
            if counted.any() and (given == used)[counted].all():
                # Beyond the classes lies what is left out on purpose, or the last class where they count from 1.
                from_one = given[counted].min() == 1 and bool((given[~counted] == classes).all())
                return given if from_one else np.where(counted, given, _LEFT_OUT), str(leaf.dtype)
    return used, "int64"


def _alike(one: Array, other: Array) -> bool:
    """Whether they are multiples of each other, in the same direction."""
    size = float(np.linalg.norm(other))
    factor = float((one * other).sum()) / size**2 if size else 0.0
    return factor > 0 and float(np.linalg.norm(one - factor * other)) < _SAME * float(np.linalg.norm(one))


def place_before_ending(call: Call) -> int | None:
    """Where that is which the last activation or softmax before the function was given; None where there is none."""
    last = _last_ending(call.values)
    return None if last is None else call.places[last[1]]


def endings_of(values: list[Array]) -> tuple[str, ...]:
    """The names of what made the last of these from one before it, the last one first."""
    last = _last_ending(values)
    return () if last is None else (last[0], *endings_of(values[: last[1] + 1]))


def _last_ending(values: list[Array]) -> tuple[str, int] | None:
    """Its name, and which of the values it was given."""
    *before, last = values
    for number, one in reversed(list(enumerate(before))):
        name = _made_by(one, last) if one.shape == last.shape else ""
        if name:
            return name, number
    return None


def _made_by(one: Array, other: Array) -> str:
    close = _EQUAL * (float(np.abs(other).max()) or 1.0)

    def equal(made: Array) -> bool:
        return bool((np.abs(made - other) <= close).all())

    if equal(one):
        return ""
    if not np.ptp(other):  # as of units that are all dead; anything else may be as constant
        return "relu" if not other.any() and one.max() <= 0 else ""
    for axis in range(one.ndim):
        if equal(softmax(one, axis)):
            return "softmax"
        if equal(log_softmax(one, axis)):
            return "log_softmax"
    with np.errstate(all="ignore"):
        return next((name for name, phi in NAMED.items() if name != "linear" and equal(phi(one))), "")


def _broadcasts(program: JaxProgram) -> Iterator[LossArguments]:
    """[n] and [n, 1] of the user's data, put together without an axis that was put in on purpose."""
    flat = program.flat
    data = flat.reached(list(program.places.values()))
    for step in flat.steps:
        if step.name not in _COMBINED or len(step.reads) != 2 or not data.issuperset(step.reads):
            continue
        one, other = (flat.shapes[place].shape for place in step.reads)
        if len(one) != 2 or len(other) != 2 or one != other[::-1] or min(one) != 1 or max(one) < _FEWEST_ROWS:
            continue
        row, column = step.reads if one[0] == 1 else step.reads[::-1]
        if _widened(flat, row) == "by itself" and _widened(flat, column) != "on purpose":
            size = max(one)
            line = line_of(step.equation)
            yield LossArguments(_COMBINED[step.name], np.zeros(size), np.zeros((size, 1)), line=line)


def _widened(flat: Flat, place: int) -> str:
    """How a value got its axis of length 1."""
    step = flat.made_by.get(place)
    while step is not None and step.name in ("neg", "convert_element_type", "stop_gradient", "copy"):
        step = flat.made_by.get(step.reads[0])
    if step is None or step.name not in ("broadcast_in_dim", "reshape", "expand_dims"):
        return ""
    return "on purpose" if asked_for_by(step.equation) in _ON_PURPOSE else "by itself"


def _array(value: jax.Array) -> Array:
    return np.asarray(value, dtype=np.float64)
