"""Shapes before and after a reshape that a permutation of the axes would have explained."""

from __future__ import annotations

from itertools import permutations

_MOST_AXES, _SKEWED_AXES = 5, 4


def stands_for_a_permutation(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether the second shape is no merging or splitting of neighbouring axes of the first, and would be one if these
    were permuted.
    """
    one, other = (tuple(size for size in shape if size != 1) for shape in (before, after))
    if not 2 <= max(len(one), len(other)) <= _MOST_AXES or min(len(one), len(other)) < 2 or one == other:
        return False
    if _skews(one, other):
        return False
    long, short = (one, other) if len(one) >= len(other) else (other, one)
    if len(short) < 2 or _merges(long, short):
        return False
    return any(_merges(order, short) for order in permutations(long))


def _skews(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Two neighbouring axes have changed places, the first or the last ones of four or more, or of lengths n and n + 1:
    so relative positions are shifted, and bands of a matrix laid out, on purpose (Dai et al. 2019, arXiv 1901.02860).
    """
    places = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if len(one) != len(other) or len(places) != 2 or places[1] != places[0] + 1:
        return False
    outermost = places[0] == 0 or places[1] == len(one) - 1
    return (len(one) >= _SKEWED_AXES and outermost) or abs(one[places[0]] - one[places[1]]) == 1


def _merges(long: tuple[int, ...], short: tuple[int, ...]) -> bool:
    """Whether merging neighbours of the one gives the other."""
    sizes = iter(long)
    for wanted in short:
        size = 1
        while size < wanted:
            size *= next(sizes, wanted + 1)
        if size != wanted:
            return False
    return next(sizes, None) is None
