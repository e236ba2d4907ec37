"""Reshapes in a JAX function that stand where axes should have been permuted, and softmaxes over a single number."""

from __future__ import annotations

from collections.abc import Collection

from wellposed.backends.jax.flat import Flat
from wellposed.backends.jax.lines import asked_for_by, line_of
from wellposed.backends.structure.permuted import stands_for_a_permutation
from wellposed.backends.structure.shown import Reshape

_ASKED_FOR = {"reshape", "_reshape", "compute_reshape", "ravel", "rearrange"}


def reshapes_in(flat: Flat, outputs: Collection[int], rows: int) -> tuple[Reshape, ...]:
    found: list[Reshape] = []
    for step in flat.behind(outputs):
        if step.name != "reshape" or asked_for_by(step.equation) not in _ASKED_FOR:
            continue
        before, after = flat.shapes[step.reads[0]].shape, flat.shapes[step.makes[0]].shape
        line = line_of(step.equation)
        if rows in before and stands_for_a_permutation(before, after) and all(line != one.line for one in found):
            found.append(Reshape(line, tuple(before), tuple(after)))
    return tuple(found)


def softmaxes_over(flat: Flat, outputs: Collection[int], axis_of: int | None = None, size: int = 1) -> list[str]:
    """The lines where exponentials are summed over an axis of that size (and place)."""
    exponentials = {place for step in flat.steps if step.name == "exp" for place in step.makes}
    found = []
    for step in flat.behind(outputs):
        if step.name != "reduce_sum" or not exponentials.intersection(step.reads):
            continue
        shape, axes = flat.shapes[step.reads[0]].shape, step.equation.params["axes"]
        if len(shape) > 1 and len(axes) == 1 and shape[axes[0]] == size and axis_of in (None, axes[0]):
            found.append(line_of(step.equation))
    return list(dict.fromkeys(found))
