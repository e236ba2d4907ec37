"""Numbers that stand in the user's code: where one may be a size, inputs of another size are none of its kind."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from typing import Any

from wellposed.backends.closures import foreign, reachable

_NEAR = 1e-6  # relative


def may_be_fixed(size: int, *functions: Any) -> bool:
    """Whether a number in their code, or an array that they close over, may be this size, a multiple, its root or
    inverse.
    """
    return any(_about(number, size) for function in functions for number in _numbers(function))


def _about(number: float, size: int) -> bool:
    if isinstance(number, int):
        return number >= size and number % size == 0
    return any(math.isclose(number, about, rel_tol=_NEAR) for about in (size, size**0.5, size**-0.5, 1 / size))


def _numbers(function: Any) -> Iterator[float]:
    for thing in [function, *(part for _, part in reachable(function))]:
        if isinstance(thing, types.FunctionType):
            yield from () if foreign(thing) else _constants(thing.__code__)
        elif isinstance(thing, int | float) and not isinstance(thing, bool):
            yield thing
        else:
            shape = getattr(thing, "shape", None)  # whatever has one
            yield from shape if isinstance(shape, tuple) else ()


def _constants(code: types.CodeType) -> Iterator[float]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _constants(constant)
        elif isinstance(constant, tuple):
            yield from (one for one in constant if isinstance(one, int | float) and not isinstance(one, bool))
        elif isinstance(constant, int | float) and not isinstance(constant, bool):
            yield constant
