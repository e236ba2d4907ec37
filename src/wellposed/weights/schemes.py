"""Drawing the weights of one layer."""

from __future__ import annotations

import zlib

import numpy as np

from wellposed.numerics.arrays import Vector

SCHEMES = ("auto", "he", "glorot", "lecun", "orthogonal")


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator of the layer's own, so that its weights depend on no other layer."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def normal(shape: tuple[int, ...], deviation: float, random: np.random.Generator) -> Vector:
    """Independent Gaussian entries (He et al. 2015, Glorot & Bengio 2010, LeCun 1998 differ in `deviation`)."""
    drawn: Vector = random.standard_normal(shape) * deviation
    return drawn


def orthogonal(shape: tuple[int, ...], unit_axis: int, deviation: float, random: np.random.Generator) -> Vector:
    """Orthogonal rows, or columns where there are more rows (Saxe et al. 2013), scaled to entries of `deviation`.

    A row is one output unit: all axes but `unit_axis`, flattened.
    """
    units = shape[unit_axis]
    rest = tuple(side for axis, side in enumerate(shape) if axis != unit_axis)
    fan = int(np.prod(rest))
    tall = random.standard_normal((max(units, fan), min(units, fan)))
    basis, triangle = np.linalg.qr(tall)
    basis = basis * np.sign(np.diag(triangle))  # makes the draw uniform over orthogonal matrices (Mezzadri 2007)
    matrix = basis if units >= fan else basis.T
    size = float(np.sqrt(np.mean(matrix**2)))
    scaled: Vector = np.moveaxis(matrix.reshape(units, *rest) * (deviation / size), 0, unit_axis)
    return scaled
