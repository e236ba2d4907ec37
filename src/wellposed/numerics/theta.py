"""theta: all parameters as one vector that keeps their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from wellposed.numerics.arrays import Vector

Gradient = Mapping[str, Vector | None]
"""One array per parameter, by name; None where the framework gives no gradient at all."""


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

    def unpack(self, theta: Vector) -> dict[str, Vector]:
        """theta -> named arrays: views of theta in their own shapes."""
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


def descend(theta: Vector, gradient: Vector) -> Vector:
    """theta after one small step of gradient descent: 1 % of its own norm long (0.01 for theta = 0).

    theta itself where the gradient is zero or not finite.
    """
    length = float(np.linalg.norm(gradient))
    if length == 0 or not np.isfinite(length):
        return theta
    return theta - gradient * (_STEP_OF_NORM * (float(np.linalg.norm(theta)) or 1.0) / length)


def move_by_its_size(layout: Layout, theta: Vector, names: Iterable[str] | None = None, least: float = 0.0) -> Vector:
    """theta with each tensor of these names (all) moved at random by its own root mean square or `least`, or by 1 where
    that is 0.
    """
    random, moved = np.random.default_rng(0), theta.copy()
    for place in (layout.slices[name] for name in (layout.names if names is None else names)):
        size = float(np.sqrt(np.mean(theta[place] ** 2))) if theta[place].size else 0.0
        moved[place] += (max(size, least) or 1.0) * random.standard_normal(theta[place].shape)
    return moved
