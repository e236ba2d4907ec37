"""Only some entries are wrong: which, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.locate import Located
from wellposed.gradients.residuals import signed_weights
from wellposed.gradients.wrong_tensor import Suspect
from wellposed.printable import listed

_INDICES_NAMED = 6

_PARTS_TRIED = 32
_PART_WRONG_BARS = 3.0  # bars
_PART = 0.75  # of an axis: more wrong slices than that are no part of it


def wrong_part(suspect: Suspect, located: Located) -> Explanation | None:
    """The wrong entries fill a few slices along one axis, and the others are right; or the rows of repeated indices."""
    shape = suspect.shape or (1,)
    found = _region(suspect) if located.dense or not located.complete else _filled(shape, located)
    if found is None:
        return None
    axis, indices = found
    turned = _turned(suspect, shape, axis, indices)
    if turned:
        return Explanation("sign", turned)
    repeated = _repeated(suspect, indices) if axis == 0 else ""
    if repeated:
        text = (
            f"Wrong are the rows that `{repeated}` names more than once ({_listed(indices)}): what belongs to the same"
            " index is assigned where it must be added up."
        )
        return Explanation("overwritten", text)
    listed = _listed(indices)
    index = [":"] * len(shape)
    index[axis] = f"[{listed}]" if "," in listed or "and" in listed else listed
    last = f", the last along axis {axis}" if indices == [shape[axis] - 1] else ""
    text = f"Only `{suspect.name}[{', '.join(index)}]` is wrong{last}; the rest is right."
    if not np.take(suspect.claim.reshape(shape), indices, axis).any():
        text += " There the claim is zero: these entries were left out."
    return Explanation("wrong-rows", text)


def _turned(suspect: Suspect, shape: tuple[int, ...], axis: int, indices: list[int]) -> str:
    """Words where the claim is right but for its sign at these indices."""
    mask = np.zeros(shape)
    mask[(slice(None),) * axis + (indices,)] = 1.0
    claim = suspect.claim.reshape(shape)
    if not (claim * mask).any() or not suspect.fits((claim * (1 - 2 * mask)).reshape(suspect.shape)):
        return ""
    place = ", ".join(":" if k != axis else f"[{_listed(indices)}]" for k in range(len(shape)))
    return f"At `{suspect.name}[{place}]` the claim has the wrong sign; the rest is right."


def _repeated(suspect: Suspect, rows: list[int]) -> str:
    """The index array of the data that names these rows, and hardly any others, more than once."""
    length = suspect.shape[0]
    for name, array in suspect.data.items():
        if array.dtype.kind in "iu" and array.size and array.min() >= 0 and array.max() < length:
            times = np.bincount(array.ravel(), minlength=length)
            often, once = np.flatnonzero(times > 1), np.flatnonzero(times == 1)
            # Only where rows named once are right does the repetition tell them apart.
            if once.size and set(rows) <= set(often.tolist()) and len(rows) > len(often) / 2:
                return name
    return ""


def _filled(shape: tuple[int, ...], located: Located) -> tuple[int, list[int]] | None:
    """The axis, and the indices along it, whose slices the wrong entries fill at least by half; the fewest."""
    best: tuple[float, int, list[int]] | None = None
    for axis, length in enumerate(shape):
        indices = wrong_indices(located, axis)
        if length < 2 or not indices or len(indices) > _PART * length:
            continue
        slices = len(indices) * int(np.prod(shape)) // length
        wrong = sum(
            prod(shape[k] if i is None else 1 for k, i in enumerate(piece.index)) for piece in located.slices
        ) + len(located.entries)
        if wrong >= slices / 2 and (best is None or len(indices) / length < best[0]):
            best = len(indices) / length, axis, indices
    return None if best is None else best[1:]


def _region(suspect: Suspect) -> tuple[int, list[int]] | None:
    """The indices along some axis outside of which nothing is wrong, where most entries are: group by group, then to
    the index.
    """
    shape = suspect.shape or (1,)
    weights = signed_weights(np.random.default_rng(3), suspect.claim.size)

    def clean(axis: int, indices: np.ndarray[Any, Any]) -> bool:
        mask = np.zeros(shape[axis])
        mask[indices] = 1.0
        broadcast = np.broadcast_to(mask.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)
        found = suspect.residuals.of(weights * broadcast.ravel())
        return abs(found.value) <= _PART_WRONG_BARS * found.bar

    for axis, length in enumerate(shape):
        if length < 2:
            continue
        groups = np.array_split(np.arange(length), min(_PARTS_TRIED, length))
        hit = [not clean(axis, group) for group in groups]
        if all(hit) or not any(hit):
            continue
        wrong: list[int] = []
        for number, group in enumerate(groups):
            edge = (number > 0 and not hit[number - 1]) or (number + 1 < len(groups) and not hit[number + 1])
            if hit[number]:
                wrong += [int(i) for i in group if not edge or len(group) == 1 or not clean(axis, np.array([i]))][
                    : len(group)
                ]
        return axis, wrong
    return None


def wrong_indices(located: Located, axis: int) -> list[int]:
    """The indices along one axis at which something is wrong; empty where some slice has no index along it."""
    found: set[int] = set()
    for part in [*(entry.index for entry in located.entries), *(piece.index for piece in located.slices)]:
        if axis >= len(part) or part[axis] is None:
            return []
        found.add(int(part[axis] or 0))
    return sorted(found)


def _listed(indices: Sequence[int]) -> str:
    """3, 5:8 for 3, 5, 6, 7."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    words = [str(low) if high == low + 1 else f"{low}:{high}" for low, high in runs]
    return listed(words, _INDICES_NAMED)
