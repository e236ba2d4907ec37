"""Views and reshapes that stand where axes should have been permuted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import torch

from wellposed.backends.lines import find_caller, within_package
from wellposed.backends.structure import Reshape
from wellposed.backends.torch.tracing.function_mode import Watcher

_MOST_AXES, _SKEWED_AXES = 5, 4


class Reshapes(Watcher):
    """Enter it around a forward pass; of tensors of which an axis has as many places as the batch has examples."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = rows
        self.found: list[Reshape] = []

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = function(*args, **kwargs)
        first = args[0] if args else None
        if name in ("view", "reshape") and isinstance(first, torch.Tensor) and isinstance(result, torch.Tensor):
            before, after = tuple(first.shape), tuple(result.shape)
            if self._rows in before and stands_for_a_permutation(before, after):
                line = "" if within_package("torch.nn.functional") else find_caller(("torch", "wellposed"))
                if line and all(line != one.line for one in self.found):
                    self.found.append(Reshape(line, before, after))
        return result


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


def reshapes_in(run: Callable[[], Any], rows: int) -> tuple[Reshape, ...]:
    watch = Reshapes(rows)
    with torch.no_grad(), watch:
        run()
    return tuple(watch.found)
