"""Drawing the weights of one layer.

A weight is seen as [S, O, I]: S maps beside each other (experts), each from I inputs to O outputs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from wellposed.numerics.arrays import Vector

_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module")

Draw = Callable[[tuple[int, int, int], np.random.Generator], Vector]
"""From (S, O, I) to an array of that shape with entries of mean square about 1."""


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator of the parameter's own, so that it depends on no other: its name counts, without what wraps the
    model.
    """
    own = ".".join(part for part in name.removeprefix("module.").split(".") if part not in _WRAPPERS)
    return np.random.default_rng([seed, zlib.crc32(own.encode())])


@dataclass(frozen=True)
class Maps:
    """How a weight of `shape` is [S, O, I]: its output and input axes; along all others lie separate maps."""

    shape: tuple[int, ...]
    out_axes: tuple[int, ...]
    in_axes: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        beside = tuple(axis for axis in range(len(self.shape)) if axis not in (*self.out_axes, *self.in_axes))
        return (*beside, *self.out_axes, *self.in_axes)

    @property
    def sizes(self) -> tuple[int, int, int]:
        out, into = (prod(self.shape[axis] for axis in axes) for axes in (self.out_axes, self.in_axes))
        return prod(self.shape) // (out * into), out, into

    def fold(self, weight: Vector) -> Vector:
        """[S, O, I] of a weight."""
        folded: Vector = np.transpose(weight, self.order).reshape(self.sizes)
        return folded

    def unfold(self, maps: Vector) -> Vector:
        """The weight of [S, O, I]."""
        turned = maps.reshape([self.shape[axis] for axis in self.order])
        weight: Vector = np.transpose(turned, np.argsort(self.order))
        return weight


def normal(sizes: tuple[int, int, int], random: np.random.Generator) -> Vector:
    """Independent Gaussian entries; not cut off, so that their deviation is what it says."""
    return random.standard_normal(sizes)


def uniform(sizes: tuple[int, int, int], random: np.random.Generator) -> Vector:
    """Independent entries, uniform on +-sqrt(3)."""
    return random.uniform(-(3**0.5), 3**0.5, sizes)


def orthogonal(sizes: tuple[int, int, int], random: np.random.Generator) -> Vector:
    """Orthogonal rows, or columns where there are more rows, drawn uniformly (Saxe et al. 2013; Mezzadri 2007)."""
    beside, out, into = sizes
    maps = np.empty(sizes)
    for one in range(beside):
        basis, triangle = np.linalg.qr(random.standard_normal((max(out, into), min(out, into))))
        basis = basis * np.where(np.diag(triangle) < 0, -1.0, 1.0)  # makes the draw uniform over orthogonal matrices
        maps[one] = (basis if out >= into else basis.T) * max(out, into) ** 0.5
    return maps


def mirror(draw: Draw, out_too: bool, in_too: bool) -> Draw:
    """Units in pairs u and -u, and weights w and -w on them: for phi(u) - phi(-u) the layer is one linear map of half
    the width.

    Looks-linear initialisation (Balduzzi et al. 2017). An odd unit out is no pair's: it is drawn alone, and read by
    nobody at first.
    """

    def paired(sizes: tuple[int, int, int], random: np.random.Generator) -> Vector:
        beside, out, into = sizes
        rows, columns = -(-out // 2) if out_too else out, max(into // 2, 1) if in_too else into
        core = draw((beside, rows, columns), random)
        if in_too:
            rest = np.zeros((beside, rows, into - 2 * columns)) if into > 1 else np.zeros((beside, rows, 0))
            core = np.concatenate([core, -core, rest], axis=2)[:, :, :into]
        return (
            np.concatenate([core[:, : out // 2], -core[:, : out // 2], core[:, out // 2 :]], axis=1)
            if out_too
            else core
        )

    return paired


def centre_tap(draw: Draw, taps: int) -> Draw:
    """A convolution that is `draw` at the middle of its kernel and 0 elsewhere: delta-orthogonal for orthogonal ones
    (Xiao 2018).
    """

    def delta(sizes: tuple[int, int, int], random: np.random.Generator) -> Vector:
        beside, out, into = sizes
        maps = np.zeros((beside, out, into // taps, taps))
        maps[..., taps // 2] = draw((beside, out, into // taps), random) * taps**0.5
        return maps.reshape(sizes)

    return delta
