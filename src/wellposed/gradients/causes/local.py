"""Causes that show in one function alone: its incoming gradient, its derivative at every point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.wrong_tensor import Suspect
from wellposed.numerics.activations import NAMED
from wellposed.numerics.arrays import Array, Vector

Function = Callable[[Vector], Vector]

_POINT_FITS = 1e-4
_SHARE_OF_POINTS = 0.9  # of the points that must agree: derivatives have corners
_MOST_POINTS = 64  # points looked at
_H = 1e-6


def ignored_cotangent(suspect: Suspect) -> Explanation | None:
    """The gradient of 2 J is that of J: what comes in is not used."""
    double = suspect.of_double
    if double is None or not suspect.claim.any():
        return None
    if np.allclose(double, suspect.claim, rtol=1e-6, atol=0):
        return Explanation(
            "ignored-cotangent", "The gradient of 2 J is the same as that of J: the incoming gradient is not used."
        )
    return None


def activation_derivative(suspect: Suspect) -> Explanation | None:
    """An elementwise function whose derivative is not what the claim says: taken at the wrong place, or another
    function's.
    """
    if suspect.pointwise is None:
        return None
    f, cotangent = suspect.pointwise
    x = suspect.theta
    y = np.asarray(f(x)).reshape(x.shape)
    if not _elementwise(f, x, y):
        return None
    look = np.flatnonzero(np.abs(cotangent.ravel()) > 1e-6 * np.abs(cotangent).max())[:_MOST_POINTS]
    used = suspect.claim.ravel()[look] / cotangent.ravel()[look]
    points, outputs = x.ravel()[look], y.ravel()[look]
    at = _slopes(f, x, look)
    right = at(points)
    if _agree(used, right):
        return None
    words = _named(used, at, points, outputs)
    worst = int(np.nanargmax(np.abs(used - right)))
    number = f"at x = {points[worst]:.4g} it uses {used[worst]:.6g}, where the slope is {right[worst]:.6g}"
    return Explanation("activation-derivative", f"{words}: {number}.")


def softmax_derivative(suspect: Suspect) -> Explanation | None:
    """A softmax y over one axis, with y (g - sum(g y)) summed over another axis, or without the sum."""
    if suspect.pointwise is None:
        return None
    f, g = suspect.pointwise
    y = np.asarray(f(suspect.theta)).reshape(suspect.shape)
    axes = [axis for axis in range(y.ndim) if y.min() >= 0 and np.allclose(y.sum(axis), 1, atol=1e-6)]
    if not axes:
        return None
    for axis in range(y.ndim):
        if axis not in axes and np.allclose(
            suspect.claim, y * (g - (g * y).sum(axis, keepdims=True)), rtol=1e-6, atol=1e-12
        ):
            text = f"It is a softmax over axis {axes[0]}, but its backward pass sums over axis {axis}."
            return Explanation("wrong-axis", text)
    for claim, words in (
        (y * g, "the sum over its axis is left out"),
        (y * (1 - y) * g, "the diagonal of its Jacobian alone is used"),
    ):
        if np.allclose(suspect.claim, claim, rtol=1e-6, atol=1e-12):
            return Explanation(
                "activation-derivative", f"It is a softmax over axis {axes[0]}, and {words}: y (g - sum(g y)) is right."
            )
    return None


def _named(used: Vector, at: Function, points: Vector, outputs: Vector) -> str:
    """What the claim's derivative is, if it is one that is known."""
    if _agree(used, at(outputs)):
        return "Its derivative is taken at the output, f'(f(x)), where the input belongs"
    for place, values in (("", points), (" at the output", outputs)):
        for name, known in NAMED.items():
            if _agree(used, (known(values + _H) - known(values - _H)) / (2 * _H)):
                return f"It uses the derivative of {name}{place}"
    return "Its derivative is wrong"


def _elementwise(f: Function, x: Vector, y: Vector) -> bool:
    """Whether an entry of the output depends on its own entry of the input alone."""
    random = np.random.default_rng(4)
    moved = random.integers(2, size=x.shape) == 1
    if x.size < 2 or y.shape != x.shape or moved.all() or not moved.any():
        return x.size == 1
    beside = np.asarray(f(np.where(moved, x + 0.01 * (np.abs(x) + np.abs(x).max()), x))).reshape(x.shape)
    return bool((beside[~moved] == y[~moved]).all())


def _slopes(f: Function, x: Vector, look: Array) -> Function:
    """f' at given values of the entries looked at; plain differences, as four digits tell one derivative from
    another.
    """

    def whole(values: Vector) -> Vector:
        filled = x.ravel().copy()
        filled[look] = values
        return np.asarray(f(filled.reshape(x.shape))).ravel()[look]

    def at(values: Vector) -> Vector:
        h = 1e-5 * np.maximum(np.abs(values), 1e-3)
        return (whole(values + h) - whole(values - h)) / (2 * h)

    return at


def _agree(used: Vector, slope: Vector) -> bool:
    size = np.maximum(np.abs(slope), 1e-3 * np.nanmax(np.abs(slope), initial=0.0))
    return bool(np.mean(np.abs(used - slope) <= _POINT_FITS * size) >= _SHARE_OF_POINTS)
