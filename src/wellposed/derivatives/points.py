"""A function and the point at which its derivative is wanted, in the user's own types."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector, dtype_name, plain, rebuild_like
from wellposed.numerics.floats import FORMATS, format_of
from wellposed.users_code import ask

Bounds = tuple[Any, Any] | None


class Point:
    """f and x, with x flat in float64 on our side and as it was given on f's.

    Raises `InputError` where f is no function, x no finite real numbers, or x outside its bounds.
    """

    def __init__(self, f: Any, x: Any, bounds: Bounds) -> None:
        if not callable(f):
            raise InputError(f"f must be a function, not a {type(f).__name__}")
        self.f = f
        array = plain(x)
        if array.dtype.kind == "c":
            raise InputError(
                f"x must be real numbers, not {array.dtype}", hint="differentiate by the real and the imaginary part"
            )
        self._rebuild = rebuild_like(x)
        self.shape = array.shape
        self.flat: Vector = array.astype(np.float64).ravel()
        if not np.isfinite(self.flat).all():
            raise InputError("x contains NaN or infinity; there is no derivative at such a point")
        self.grain = format_of(dtype_name(x)).eps
        """How finely x itself is resolved."""
        self.eps = 2.0**-52
        """How finely the values of f are resolved: the coarsest seen so far."""
        self.lower, self.upper = self._limits(bounds)

    @cached_property
    def value(self) -> Array:
        """f at the point itself."""
        value = self(self.flat.reshape(self.shape))
        if value.dtype.kind == "c":
            raise InputError(
                f"f must return real numbers, but it returned {value.dtype}",
                hint="take the real and the imaginary part in turn",
            )
        return value

    def elementwise(self) -> bool:
        """Whether f works on many numbers at once, each by itself; `value` is then flat."""
        made = ask(lambda: (self(self.flat), self(self.flat[:1])), None)
        if made is None:  # a function of one number
            return False
        values, alone = made
        if values.shape != self.flat.shape or alone.shape != (1,) or values.dtype.kind == "c":
            return False
        # Vector instructions may round another way than a single number does.
        if not np.allclose(values[:1], alone, rtol=64 * self.eps, atol=0, equal_nan=True):
            return False
        self.value = values
        return True

    def __call__(self, values: Array) -> Array:
        """f, as float64 (complex where f's values are), at values of x's shape, or of any 1-D shape for elementwise
        f.
        """
        returned = self.f(self._rebuild(values))
        result = plain(returned, "what f returns")
        if dtype_name(returned) in FORMATS:
            self.eps = max(self.eps, format_of(dtype_name(returned)).eps)
        return result if result.dtype.kind == "c" else result.astype(np.float64)

    def beside(self, values: Array) -> Array:
        """f at another point; NaN where it raises, for it need not be defined everywhere."""
        return ask(lambda: self(values), np.full(self.value.shape, np.nan), ours=False)

    def _entry(self, flat: int) -> str:
        return f"x[{', '.join(str(int(k)) for k in np.unravel_index(flat, self.shape))}]" if self.shape else "x"

    def stored(self, values: Vector) -> Vector:
        """The values as f will see them: rounded to x's dtype."""
        return values if self.grain == 2.0**-52 else plain(self._rebuild(values)).astype(np.float64)

    def room(self, direction: Vector) -> tuple[float, float]:
        """How far t may go down and up so that x + t v stays within its bounds."""
        limits = []
        for towards in (-direction, direction):
            moving = towards != 0
            free = np.where(towards > 0, self.upper - self.flat, self.flat - self.lower)[moving] / np.abs(
                towards[moving]
            )
            limits.append(float(free.min(initial=np.inf)))
        return limits[0], limits[1]

    def _limits(self, bounds: Bounds) -> tuple[Vector, Vector]:
        pair = (None, None) if bounds is None else bounds
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(
                "bounds must be a pair (lower, upper)", hint="None stands for no limit: bounds=(0.0, None)"
            )
        try:
            lower, upper = (
                np.broadcast_to(
                    np.asarray(default if limit is None else plain(limit, "a bound"), dtype=float), self.shape
                ).ravel()
                for limit, default in zip(pair, (-np.inf, np.inf), strict=True)
            )
        except ValueError:
            raise InputError(f"bounds do not fit x, which has shape {self.shape}") from None
        for i in np.flatnonzero(lower == upper)[:1]:
            raise InputError(f"the bounds leave {self._entry(int(i))} no room to move: both are {lower[i]:g}")
        outside = np.flatnonzero(~((lower <= self.flat) & (self.flat <= upper)))
        if outside.size:
            i = int(outside[0])
            raise InputError(
                f"{self._entry(i)} = {self.flat[i]:g} lies outside its bounds [{lower[i]:g}, {upper[i]:g}]"
            )
        return lower, upper
