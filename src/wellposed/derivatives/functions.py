"""Derivatives of any Python function of numbers or arrays, by two-sided differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wellposed.derivatives.estimate import Estimate, Slope
from wellposed.derivatives.steps import CONSTANT, slope
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector
from wellposed.numerics.floats import format_of


def derivative(f: Callable[[Any], Any], x: Any) -> Estimate:
    """f'(x) for a function of one number; for an array x, of each of its numbers (f gets one at a time).

    Returns an `Estimate` with floats, or arrays of x's shape. Two-sided differences of several
    steps, chosen by the measured noise and curvature of f (Moré & Wild 2011; Richardson 1911).
    Raises `InputError` where x is not real or f does not return a number.

    >>> wp.derivative(lambda t: t**3, 1.0).value  # doctest: +SKIP
    3.0000000000
    """
    _callable(f)
    points = _real(x)
    number = points.dtype.type

    def through(point: Any) -> Slope:
        return _along(lambda t: f(number(point + number(t))), points.dtype, _scale(point))

    slopes = [through(point) for point in points.ravel()]
    return _gathered(slopes, points.shape)


def gradient(f: Callable[[Any], Any], x: Any) -> Estimate:
    """The gradient of a scalar function of an array, shape of x, one coordinate at a time.

    Returns an `Estimate` whose `value` and `error` have x's shape; errors as for `derivative`.
    """
    _callable(f)
    point = _real(x)
    slopes = []
    for flat in range(point.size):
        unit = np.zeros(point.size, dtype=point.dtype)
        unit[flat] = 1
        direction = unit.reshape(point.shape)
        slopes.append(_moved(f, point, direction, _scale(point.ravel()[flat])))
    return _gathered(slopes, point.shape)


def directional(f: Callable[[Any], Any], x: Any, v: Any) -> Estimate:
    """d/dt f(x + t v) at t = 0 for a scalar function of an array; v has the shape of x.

    Returns an `Estimate` of floats; errors as for `derivative`, and where v does not fit x.
    """
    _callable(f)
    point, direction = _real(x), np.asarray(v, dtype=np.float64)
    if direction.shape != point.shape:
        raise InputError(f"the direction v has shape {direction.shape}, but x has shape {point.shape}")
    length = float(np.sqrt(np.mean(direction**2)))
    if not np.isfinite(length) or length == 0:
        raise InputError("the direction v must be finite and not all zero")
    size = float(np.sqrt(np.mean(np.square(point, dtype=np.float64))))
    return _gathered([_moved(f, point, direction, _scale(size) / length)], ())


def _scale(size: float) -> float:
    # Below the square root of the smallest normal number a function cannot have a scale of its own that differences could see.
    return abs(float(size)) if abs(float(size)) > 1e-150 else 1.0


def _moved(f: Callable[[Any], Any], point: Array, direction: Array, scale: float) -> Slope:
    return _along(lambda t: f((point + t * direction).astype(point.dtype)), point.dtype, scale)


def _along(f: Callable[[float], Any], dtype: np.dtype[Any], scale: float) -> Slope:
    def measured(size: float) -> Slope:
        return slope(lambda t: _number(f(t)), scale=size, eps=format_of(dtype.name).eps)

    # Beside a tiny x a function of ordinary size does not change at all: look further.
    near = measured(scale)
    return measured(1.0) if near.reason == CONSTANT and scale < 1 else near


def _callable(f: Any) -> None:
    if not callable(f):
        raise InputError(f"f must be a function, not a {type(f).__name__}")


def _real(x: Any) -> Array:
    point = np.asarray(x)
    if point.dtype.kind in "iub":
        point = point.astype(np.float64)
    if point.dtype.kind != "f":
        raise InputError(f"x must be real numbers, not {point.dtype}")
    if not np.isfinite(point).all():
        raise InputError("x contains NaN or infinity; there is no derivative at such a point")
    return point


def _number(value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        raise InputError(
            f"f must return one real number, but it returned {array.dtype} of shape {array.shape}",
            hint="sum or pick one component; a jacobian is several such functions",
        )
    return float(array.reshape(()))


def _gathered(slopes: list[Slope], shape: tuple[int, ...]) -> Estimate:
    def array(numbers: list[float]) -> float | Vector:
        return numbers[0] if shape == () else np.array(numbers).reshape(shape)

    reasons = [_reason(entry) for entry in slopes]
    return Estimate(
        value=array([np.nan if reason else entry.value for entry, reason in zip(slopes, reasons, strict=True)]),
        error=array([np.inf if reason else entry.error for entry, reason in zip(slopes, reasons, strict=True)]),
        step=array([entry.step for entry in slopes]),
        evaluations=sum(entry.evaluations for entry in slopes),
        reason=next((reason for reason in reasons if reason), ""),
    )


def _reason(entry: Slope) -> str:
    if entry.reason:
        return entry.reason
    if entry.jump:
        return "the function jumps at the point"
    if entry.kink:
        return f"the function has a kink at the point: its slope is {entry.left:.6g} on one side, {entry.right:.6g} on the other"
    return ""
