"""theta: all parameters as one vector that keeps their names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from wellposed.numerics.arrays import Vector

Gradient = Mapping[str, Vector | None]
"""One array per parameter, by name; None where the framework gives no gradient at all."""

MANY = 1_000_000
"""Parameters: of so many, a float64 vector of them all (8 MB) is nothing; of more, what holds them counts."""


class Separate(Mapping[str, Any]):
    """theta or a gradient as the framework's own arrays, where they lie and in their own dtype. Each is read as a
    float64 array where it is asked for, and not kept; it is None where there is no gradient.
    """

    @abstractmethod
    def plus(self, other: Separate, factor: float) -> Separate:
        """self + factor * other; what is None in the other stays as it is."""

    @abstractmethod
    def moved(self, names: Iterable[str], least: float) -> Separate:
        """See `move_by_its_size`."""

    @abstractmethod
    def scaled(self, names: Iterable[str], factor: float) -> Separate:
        """Those of these names times a factor."""

    @abstractmethod
    def moves(self, after: Separate) -> dict[str, tuple[float, float]]:
        """See `moves`."""

    @property
    @abstractmethod
    def missing(self) -> list[str]:
        """The names of what is None."""

    @property
    @abstractmethod
    def norm(self) -> float:
        """The Euclidean norm of all entries."""

    @property
    @abstractmethod
    def finite(self) -> bool:
        """Whether no entry is NaN or infinite."""


Theta = Vector | Separate
"""Where the parameters are: one float64 vector of them all, or the framework's own arrays."""


@dataclass(frozen=True)
class Layout:
    """Where each named array lies in theta. P, the length of theta, is `size`.

    The order of `shapes` is the order in theta; entries of one array lie in C order.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @cached_property
    def slices(self) -> dict[str, slice]:
        places, start = {}, 0
        for name, shape in self.shapes.items():
            places[name] = slice(start, start + prod(shape))
            start += prod(shape)
        return places

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.shapes)

    @property
    def size(self) -> int:
        return sum(prod(shape) for shape in self.shapes.values())

    def share(self, names: Iterable[str]) -> float:
        """What part of all parameters those of these names are."""
        return sum(prod(self.shapes[name]) for name in names) / self.size

    def pack(self, arrays: Mapping[str, Vector]) -> Vector:
        """Named arrays -> theta (float64, length P)."""
        if not self.shapes:
            return np.zeros(0)
        return np.concatenate([np.asarray(arrays[name], dtype=np.float64).ravel() for name in self.shapes])

    def pack_known(self, arrays: Mapping[str, Vector | None]) -> Vector:
        """As `pack`, with zeros for what is None. Arrays that are the parts of one vector already, in their places,
        give that vector: a gradient of many parameters is large.
        """
        whole = self._whole(arrays)
        if whole is not None:
            return whole
        return self.pack({n: np.zeros(shape) if (a := arrays[n]) is None else a for n, shape in self.shapes.items()})

    def _whole(self, arrays: Mapping[str, Vector | None]) -> Vector | None:
        """The vector of which `arrays` are the parts, as `unpack` gives them, and which is zero where they are None."""
        whole = next((array.base for array in arrays.values() if array is not None), None)
        if not isinstance(whole, np.ndarray) or whole.shape != (self.size,) or whole.dtype != np.float64:
            return None
        for name, part in self.unpack(whole).items():
            array = arrays[name]
            if (
                part.any()
                if array is None
                else array.base is not whole or _address(array) != _address(part) or array.shape != part.shape
            ):
                return None
        return whole

    def named(self, theta: Theta) -> Mapping[str, Vector]:
        """theta -> named arrays in their own shapes."""
        return theta if isinstance(theta, Separate) else self.unpack(theta)

    def unpack(self, theta: Theta) -> dict[str, Vector]:
        """theta -> named arrays: views of theta in their own shapes."""
        if isinstance(theta, Separate):
            return dict(theta)
        return {name: theta[place].reshape(self.shapes[name]) for name, place in self.slices.items()}

    def entry(self, name: str, flat: int) -> str:
        """The name of one entry as a user writes it: `layers.3.weight[12, 7]`."""
        index = np.unravel_index(flat, self.shapes[name])
        return f"{name}[{', '.join(str(int(i)) for i in index)}]" if index else name


def _address(array: Vector) -> tuple[int, tuple[int, ...]]:
    return array.__array_interface__["data"][0], array.strides


_RATE, _BETA1, _BETA2, _EPSILON = 1e-3, 0.9, 0.999, 1e-8


def adam(gradient: Callable[[Vector], Vector], theta: Vector, steps: int) -> Vector:
    """theta after that many steps of Adam with its usual constants (Kingma & Ba 2015); it stops where a gradient is not
    finite.
    """
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, steps + 1):
        slope = gradient(theta)
        if not np.isfinite(slope).all():
            break
        first = _BETA1 * first + (1 - _BETA1) * slope
        second = _BETA2 * second + (1 - _BETA2) * slope**2
        unbiased = first / (1 - _BETA1**step), second / (1 - _BETA2**step)
        theta = theta - _RATE * unbiased[0] / (np.sqrt(unbiased[1]) + _EPSILON)
    return theta


_STEP_OF_NORM = 0.01


def plus(theta: Theta, other: Theta, factor: float) -> Theta:
    """theta + factor * other, both of one kind."""
    if isinstance(theta, Separate):
        assert isinstance(other, Separate)
        return theta.plus(other, factor)
    return theta + factor * as_vector(other)


def as_vector(theta: Theta) -> Vector:
    """For problems that give no other points."""
    assert isinstance(theta, np.ndarray)
    return theta


def moves(layout: Layout, before: Theta, after: Theta) -> dict[str, tuple[float, float]]:
    """The Euclidean norm of each matrix, and of how far it has moved."""
    if isinstance(before, Separate):
        assert isinstance(after, Separate)
        return before.moves(after)
    moved = layout.unpack(after)
    return {
        name: (float(np.linalg.norm(weight)), float(np.linalg.norm(moved[name] - weight)))
        for name, weight in layout.unpack(before).items()
        if weight.ndim > 1
    }


def norm(theta: Theta) -> float:
    return theta.norm if isinstance(theta, Separate) else float(np.linalg.norm(theta))


def all_finite(theta: Theta) -> bool:
    return theta.finite if isinstance(theta, Separate) else bool(np.isfinite(theta).all())


def finite_gradient(gradient: Gradient) -> bool:
    if isinstance(gradient, Separate):
        return gradient.finite
    return all(np.isfinite(part).all() for part in gradient.values() if part is not None)


def missing(gradient: Gradient) -> list[str]:
    """The names of the parameters that have no gradient."""
    if isinstance(gradient, Separate):
        return gradient.missing
    return [name for name, part in gradient.items() if part is None]


def as_point(layout: Layout, theta: Theta, gradient: Gradient) -> Theta:
    """A gradient as what can be added to theta."""
    return gradient if isinstance(theta, Separate) and isinstance(gradient, Separate) else layout.pack_known(gradient)


def descend(layout: Layout, theta: Theta, gradient: Gradient) -> Theta:
    """theta after one small step of gradient descent: 1 % of its own norm long (0.01 for theta = 0).

    theta itself where the gradient is zero or not finite.
    """
    slope = as_point(layout, theta, gradient)
    length = norm(slope)
    if length == 0 or not np.isfinite(length):
        return theta
    return plus(theta, slope, -_STEP_OF_NORM * (norm(theta) or 1.0) / length)


def move_by_its_size(layout: Layout, theta: Theta, names: Iterable[str] | None = None, least: float = 0.0) -> Theta:
    """theta with each tensor of these names (all) moved at random by its own root mean square or `least`, or by 1 where
    that is 0.
    """
    names = layout.names if names is None else names
    if isinstance(theta, Separate):
        return theta.moved(names, least)
    random, moved = np.random.default_rng(0), theta.copy()
    for place in (layout.slices[name] for name in names):
        size = float(np.sqrt(np.mean(theta[place] ** 2))) if theta[place].size else 0.0
        moved[place] += (max(size, least) or 1.0) * random.standard_normal(theta[place].shape)
    return moved


def scale(layout: Layout, theta: Theta, names: Iterable[str], factor: float) -> Theta:
    """theta with the tensors of these names times a factor."""
    if isinstance(theta, Separate):
        return theta.scaled(names, factor)
    scaled = theta.copy()
    for name in names:
        scaled[layout.slices[name]] *= factor
    return scaled
