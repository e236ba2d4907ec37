"""Finite-difference formulas: differences of two values, and what remains when two of them combine."""

from __future__ import annotations


def central(above: float, below: float, h: float) -> float:
    """(f(h) - f(-h)) / 2h = f' + f''' h^2 / 6 + O(h^4)."""
    return (above - below) / (2 * h)


def extrapolated(coarse: float, fine: float, ratio: float) -> float:
    """Two central differences, steps h and h / ratio, with their h^2 terms cancelled (Richardson 1911)."""
    return (ratio**2 * fine - coarse) / (ratio**2 - 1)


def extrapolated_noise(coarse: float, fine: float, ratio: float) -> float:
    """What noise of sizes `coarse` and `fine` in the two can do to the extrapolated value at most."""
    return (ratio**2 * fine + coarse) / (ratio**2 - 1)
