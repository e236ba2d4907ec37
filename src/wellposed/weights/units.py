"""What an activation is, whatever it is given as: an elementwise function, or a gated unit as the product of two."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.activations import ALIASES, GATES, NAMED, Activation
from wellposed.numerics.arrays import Vector
from wellposed.numerics.gaussian import SPLITS, Expectations, expectations, product
from wellposed.printable import name_of
from wellposed.users_code import Raised, ask, attempt

_PROBE = np.random.default_rng(0).normal(size=(8, 4))
_HINT = (
    "give a function that maps an array to an array of the same shape, entry by entry, or halves its last axis as a"
    " gated unit does"
)


@dataclass(frozen=True)
class Unit:
    """An activation phi(z), or a gated unit phi(a) gate(b) of two independent pre-activations."""

    name: str
    phi: Activation
    gate: Activation | None = None

    def at(self, q: float, splits: int = SPLITS) -> Expectations:
        """The moments with pre-activations of mean square q."""
        found = expectations(self.phi, q, splits)
        return found if self.gate is None else product(found, expectations(self.gate, q, splits))


def unit_of(activation: str | Callable[[Any], Any]) -> Unit:
    """The unit of a name or of a function of NumPy arrays. Raises `InputError` where it is neither elementwise nor a
    gate.
    """
    if isinstance(activation, str):
        return _named(activation)
    if isinstance(activation, type):
        raise InputError(
            f"{activation.__name__} is a class, not an activation", hint=f"give an instance: {activation.__name__}()"
        )
    if not callable(activation):
        raise InputError(f"an activation is a name or a function, not a {type(activation).__name__}")
    name = name_of(activation)
    if _takes_two(activation):
        return _gated(name, lambda a, b: _called(name, activation, a, b))
    made = _called(name, activation, _PROBE)
    if made.shape == _PROBE.shape:
        if not _elementwise(activation, made):
            raise InputError(
                f"the activation {name} is not elementwise: an entry of its output depends on other entries", hint=_HINT
            )
        return Unit(name, activation)
    if made.shape == (_PROBE.shape[0], _PROBE.shape[1] // 2):
        return _gated(
            name, lambda a, b: _called(name, activation, np.stack([a, b], axis=-1).reshape(-1, 2)).reshape(a.shape)
        )
    raise InputError(
        f"the activation {name} makes an array of shape {made.shape} from one of shape {_PROBE.shape}", hint=_HINT
    )


def _named(activation: str) -> Unit:
    name = activation.lower()
    name = ALIASES.get(name, name)
    if name in GATES:
        return Unit(name, NAMED["linear"], NAMED[GATES[name]])
    if name not in NAMED:
        raise InputError(
            f"there is no activation named {activation!r}", hint=f"known: {', '.join(sorted({*NAMED, *GATES}))}"
        )
    return Unit(name, NAMED[name])


def _called(name: str, function: Callable[..., Any], *arrays: Vector) -> Vector:
    with np.errstate(all="ignore"):
        made = attempt(lambda: np.asarray(function(*(array.copy() for array in arrays)), dtype=np.float64), ours=True)
    if isinstance(made, Raised):
        raise InputError(
            f"the activation {name} could not be evaluated on a float64 array: {made.error}", hint=_HINT
        ) from made.error
    return made


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters) == 2


def _elementwise(function: Activation, made: Vector) -> bool:
    """Whether a few entries on their own, in one line, come out as they did among the others."""
    few = _PROBE.ravel()[:5]
    with np.errstate(all="ignore"):
        alone = ask(lambda: np.asarray(function(few.copy()), dtype=np.float64), None)
    if alone is None:  # it needs two axes
        return False
    return bool(alone.shape == few.shape and np.allclose(alone, made.ravel()[:5], rtol=1e-6, equal_nan=True))


def _gated(name: str, f: Callable[[Vector, Vector], Vector]) -> Unit:
    """f(a, b) as phi(a) gate(b), where it is such a product: f(a, b) f(a', b') = f(a, b') f(a', b)."""
    a, b = _PROBE[:, 0], _PROBE[:, 1]
    table = f(*np.broadcast_arrays(a[:, None], b[None, :]))
    row, column = np.unravel_index(np.nanargmax(np.abs(table)), table.shape)
    pivot = table[row, column]
    if table.shape != (a.size, b.size) or not np.allclose(
        table * pivot, table[:, [column]] * table[[row], :], rtol=1e-6, atol=1e-9
    ):
        raise InputError(f"the gated unit {name} is no product of a function of each half", hint=_HINT)
    at_a, at_b = a[row], b[column]
    return Unit(name, lambda z: f(z, np.full_like(z, at_b)) / pivot, lambda z: f(np.full_like(z, at_a), z))
