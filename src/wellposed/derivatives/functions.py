"""Derivatives of any Python function of numbers or arrays (NumPy, torch, JAX, array API), with an error bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from wellposed.derivatives.complexstep import by_complex_step
from wellposed.derivatives.coroutines import Answer, Asking, run
from wellposed.derivatives.estimate import Estimate, Slope
from wellposed.derivatives.points import Bounds, Point
from wellposed.derivatives.steps import CONSTANT, slope
from wellposed.errors import InputError
from wellposed.numerics.arrays import Array, Vector, plain

_NO_SCALE = 1e-150  # below the square root of the smallest normal number no difference sees a function's scale

Method = Literal["differences", "complex"]


def derivative(f: Callable[[Any], Any], x: Any, *, bounds: Bounds = None, method: Method = "differences") -> Estimate:
    """f'(x) for a function of one number; for an array x, at each of its numbers.

    A function that works elementwise on arrays gets the points of all numbers in one call, as a 1-D array; any other
    gets one number at a time. `bounds` = (lower, upper) is the domain of f: numbers or arrays like x, None for no
    limit. No step leaves it; at its edge the stencil is one-sided. `method="complex"` takes Im f(x + ih) / h (Squire &
    Trapp 1998), for analytic code alone; where it disagrees with differences the estimate says so.

    Step and order are chosen by the measured noise and curvature of f (Moré & Wild 2011; Richardson 1911).
    Returns an `Estimate` with floats, or arrays of x's shape. Raises `InputError` where x is not real or f does not
    return one number for each.

    >>> wp.derivative(lambda t: t**3, 1.0).value  # doctest: +SKIP
    3.0000000000
    """
    point = Point(f, x, bounds)
    _known(method)
    if not point.shape:
        _one_number(point.value)
        return _along(point, np.ones((1, 1)), (), method)
    if not point.elementwise():
        each = [
            derivative(f, number, bounds=(lower, upper), method=method)
            for number, lower, upper in zip(np.ravel(plain(x)), point.lower, point.upper, strict=True)
        ]
        return _joined(each, point.shape)
    lanes = [
        _patient(_scale(at), point.eps, f0, (at - lower, upper - at))
        for at, f0, lower, upper in zip(
            *(a.tolist() for a in (point.flat, point.value, point.lower, point.upper)), strict=True
        )
    ]

    def answer(lane: Sequence[int], steps: Sequence[float]) -> Answer:
        start = point.flat[list(lane)]
        there = point.stored(start + np.array(steps))
        return list(zip((there - start).tolist(), point(there).tolist(), strict=True))

    slopes = run(lanes, answer)
    estimate = _gathered(slopes, point.shape, evaluations=point.flat.size + sum(found.evaluations for found in slopes))
    if method == "complex":
        scales = np.array([_scale(at) for at in point.flat])
        return by_complex_step(
            estimate,
            lambda h: (point(point.flat + 1j * h * scales).imag / (h * scales)).reshape(point.shape),
            point.eps,
        )
    return estimate


def gradient(f: Callable[[Any], Any], x: Any, *, bounds: Bounds = None, method: Method = "differences") -> Estimate:
    """The gradient of a scalar function of an array, shape of x, one coordinate at a time.

    Returns an `Estimate` whose `value` and `error` have x's shape; arguments and errors as for `derivative`.
    """
    point = Point(f, x, bounds)
    _one_number(point.value)
    point.value = point.value.reshape(())
    return _along(point, np.eye(point.flat.size), point.shape, method)


def jacobian(f: Callable[[Any], Any], x: Any, *, bounds: Bounds = None, method: Method = "differences") -> Estimate:
    """df_i/dx_j for a function from an array to an array: shape of f(x), then shape of x.

    One evaluation of f serves all its components. Arguments and errors as for `derivative`.
    """
    point = Point(f, x, bounds)
    return _along(point, np.eye(point.flat.size), point.shape, method)


def directional(
    f: Callable[[Any], Any], x: Any, v: Any, *, bounds: Bounds = None, method: Method = "differences"
) -> Estimate:
    """d/dt f(x + t v) at t = 0; v has the shape of x.

    Returns an `Estimate` with the shape of f(x) (floats for a scalar function); arguments and errors as for
    `derivative`, and where v does not fit x.
    """
    point = Point(f, x, bounds)
    direction = plain(v, "the direction v").astype(np.float64)
    if direction.shape != point.shape:
        raise InputError(f"the direction v has shape {direction.shape}, but x has shape {point.shape}")
    if not np.isfinite(direction).all() or not direction.any():
        raise InputError("the direction v must be finite and not all zero")
    return _along(point, direction.reshape(1, -1), (), method)


def _along(point: Point, directions: Vector, shape: tuple[int, ...], method: Method) -> Estimate:
    """The derivatives of every component of f along every direction: shape of f(x), then `shape`."""
    _known(method)
    f0 = point.value.ravel()
    lanes: list[Asking[Slope]] = []
    scales = []
    for direction in directions:
        moving = direction != 0
        scales.append(_scale(_root_mean_square(point.flat[moving])) / _root_mean_square(direction[moving]))
        # The components of f come in steps of its coarsest one's precision.
        lanes += [_patient(scales[-1], point.eps, float(value), point.room(direction)) for value in f0]
    seen: dict[tuple[int, float], tuple[float, Vector]] = {}

    def moved(column: int, t: float) -> tuple[float, Vector]:
        if (column, t) not in seen:
            direction = directions[column]
            there = point.stored(point.flat + t * direction)
            unit = direction / np.abs(direction).max()
            made = float((there - point.flat) @ unit) / float(unit @ unit) / float(np.abs(direction).max())
            seen[column, t] = made, point.beside(there.reshape(point.shape)).ravel()
        return seen[column, t]

    def answer(lane: Sequence[int], steps: Sequence[float]) -> Answer:
        found = []
        for index, t in zip(lane, steps, strict=True):
            made, values = moved(index // f0.size, t)
            if values.size != f0.size:
                raise InputError(f"f returns {f0.size} numbers at x, but {values.size} beside it")
            found.append((made, float(values[index % f0.size])))
        return found

    slopes = run(lanes, answer)
    # Lanes run along directions first; an estimate has the components of f first.
    ordered = [
        slopes[column * f0.size + component] for component in range(f0.size) for column in range(len(directions))
    ]
    if not all(found.reason == CONSTANT for found in ordered):
        # f does change, but not every component with every coordinate: such a derivative is zero, as far as the widest
        # step shows.
        ordered = [replace(found, reason="") if found.reason == CONSTANT else found for found in ordered]
    estimate = _gathered(ordered, point.value.shape + shape, evaluations=1 + len(seen))
    if method != "complex":
        return estimate

    def imaginary(h: float) -> Array:
        columns = [
            point((point.flat + 1j * h * scale * direction).reshape(point.shape)).imag.ravel() / (h * scale)
            for scale, direction in zip(scales, directions, strict=True)
        ]
        return np.stack(columns, axis=-1).reshape(point.value.shape + shape)

    return by_complex_step(estimate, imaginary, point.eps, calls=len(directions))


def _patient(scale: float, eps: float, f0: float, room: tuple[float, float]) -> Asking[Slope]:
    """Beside a tiny x a function of ordinary size does not change at all: look further."""
    near = yield from slope(scale=scale, eps=eps, f0=f0, room=room)
    if near.reason != CONSTANT or scale >= 1:
        return near
    return (yield from slope(scale=1.0, eps=eps, f0=f0, room=room))


def _root_mean_square(values: Vector) -> float:
    """Of numbers whose squares may be beyond float64."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest * float(np.sqrt(np.mean((values / largest) ** 2))) if largest else 0.0


def _scale(size: float) -> float:
    return abs(size) if abs(size) > _NO_SCALE else 1.0


def _known(method: str) -> None:
    if method not in ("differences", "complex"):
        raise InputError(f"method must be 'differences' or 'complex', not {method!r}")


def _one_number(value: Array) -> None:
    if value.size != 1 or value.dtype.kind == "c":
        raise InputError(
            f"f must return one real number, but it returned {value.dtype} of shape {value.shape}",
            hint="sum or pick one component; wp.jacobian takes functions with several",
        )


def _gathered(slopes: Sequence[Slope], shape: tuple[int, ...], evaluations: int) -> Estimate:
    def array(numbers: list[float]) -> float | Vector:
        return numbers[0] if shape == () else np.array(numbers).reshape(shape)

    reasons = [_reason(entry) for entry in slopes]
    return Estimate(
        value=array([np.nan if reason else entry.value for entry, reason in zip(slopes, reasons, strict=True)]),
        error=array([np.inf if reason else entry.error for entry, reason in zip(slopes, reasons, strict=True)]),
        step=array([entry.step for entry in slopes]),
        evaluations=evaluations,
        reason=next((reason for reason in reasons if reason), ""),
    )


def _joined(each: Sequence[Estimate], shape: tuple[int, ...]) -> Estimate:
    parts = ((entry.value, entry.error, entry.step) for entry in each)
    value, error, step = (np.array(part).reshape(shape) for part in zip(*parts, strict=True))
    return Estimate(
        value,
        error,
        step,
        evaluations=sum(entry.evaluations for entry in each),
        reason=next((entry.reason for entry in each if entry.reason), ""),
    )


def _reason(entry: Slope) -> str:
    if entry.reason:
        return entry.reason
    if entry.jump:
        return "the function jumps at the point"
    if entry.kink:
        return (
            f"the function has a kink at the point: its slope is {entry.left:.6g} on one side, {entry.right:.6g} on the"
            " other"
        )
    return ""
