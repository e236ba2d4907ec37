"""Finite-difference formulas with exact coefficients, for any set of nodes."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import prod


@lru_cache(maxsize=4096)
def coefficients(nodes: tuple[Fraction | int, ...]) -> tuple[Fraction, ...]:
    """Exact weights w with f'(0) = sum w_i f(node_i) for every polynomial of degree below len(nodes).

    The derivative of Lagrange's interpolation formula at 0 (Fornberg 1988 gives the same by recursion).
    Nodes in units of h give weights in units of 1/h: (-1, 1) gives (-1/2, 1/2), (0, 1, 2) gives
    (-3/2, 2, -1/2). Raises ValueError for fewer than two nodes, or equal ones.
    """
    if len(nodes) < 2 or len(set(nodes)) < len(nodes):
        raise ValueError(f"a stencil needs two or more different nodes, not {nodes}")
    exact = [Fraction(node) for node in nodes]

    def weight(i: int) -> Fraction:
        others = [node for j, node in enumerate(exact) if j != i]
        slopes = (prod((-x for k, x in enumerate(others) if k != j), start=Fraction(1)) for j in range(len(others)))
        return sum(slopes, Fraction(0)) / prod((exact[i] - node for node in others), start=Fraction(1))

    return tuple(weight(i) for i in range(len(exact)))


def central(accuracy: int) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
    """Nodes and weights of the equidistant two-sided formula whose error falls as h^accuracy (an even number)."""
    half = accuracy // 2
    nodes = (*range(-half, 0), *range(1, half + 1))
    return nodes, coefficients(nodes)


def one_sided(accuracy: int, side: int = 1) -> tuple[tuple[int, ...], tuple[Fraction, ...]]:
    """Nodes 0, 1, 2, ... (0, -1, -2, ... for side = -1) and weights of the formula whose error falls as h^accuracy."""
    nodes = tuple(side * node for node in range(accuracy + 1))
    return nodes, coefficients(nodes)
