"""What a difference looks like: a factor, a sign, rows, the last block, padding, or a term of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wellposed.gradients.paths.apart import POINTS, Apart, Slices, sums_along
from wellposed.numerics.arrays import Vector
from wellposed.printable import listed

_MOST = 0.9  # of the difference's square: what lies in the wrong slices alone
_ALONG = 0.3  # of the difference: what may not be along the gradient where it is a multiple
_FEW = 0.5  # of the slices
_BLOCK = 4  # the smallest block that a kernel has
_NEAR = 0.1  # of a factor
_EACH = 4  # entries of a slice, at least, for it to have a factor of its own
_EMPTY = 0.01  # of the entries that are zero where something is padded
_TELLING = ("sign", "tail", "padding", "scale", "wrong-rows", "missing-term")
"""What says most first: behind a wrong row every weight has a term that is wrong."""


def clearest(wrong: Sequence[Apart]) -> tuple[Apart, str, str]:
    """Of several tensors the one whose difference says most, the cause that it fits, and what is seen."""
    told = [(one, *pattern(one)) for one in wrong]
    return min(told, key=lambda seen: (_TELLING.index(seen[1]), -seen[0].worst / (seen[0].usual or 1.0)))


def pattern(apart: Apart) -> tuple[str, str]:
    """The cause that it fits, and what is seen."""
    if not apart.exact.any():
        return "missing-term", "it should be zero throughout and is not"
    padded = _padded(apart)
    if padded:
        return "padding", padded
    local = _local(apart)
    if local is not None:
        return _of_slices(apart, local)
    if abs(apart.slope + 1) < _NEAR:
        return "sign", f"its sign is turned (slope {apart.slope:.3g})"
    if _rest(apart, None) <= min(_ALONG * apart.distance, _NEAR * abs(apart.slope)) * apart.size:
        return "scale", f"it is {apart.slope:.5g} times what it should be"
    for along in apart.slices:
        each = apart.exact.size / len(along.size)
        if each >= _EACH and _rest(apart, along.axis) <= _ALONG * apart.distance * apart.size:
            factors = _factors(apart, along.axis)
            least, most = float(factors.min()), float(factors.max())
            turned = factors[along.wrong]
            if len(turned) and abs(float(np.median(turned)) + 1) < _NEAR and (turned < 0).all():
                return "sign", f"its sign is turned in {len(turned)} of {len(factors)} along axis {along.axis}"
            return "scale", f"along axis {along.axis} it is from {least:.4g} to {most:.4g} times what it should be"
    return "missing-term", (
        f"it is {apart.worst:.2g} of its size away where it is worst, {apart.distance:.2g} over all, and not along it"
    )  # fmt: skip


def _padded(apart: Apart) -> str:
    """Gradient where there should be none, or none beside such places."""
    empty = apart.exact == 0
    square = float((apart.mean**2).sum())
    if not square or float(empty.mean()) < _EMPTY or not apart.beyond:
        return ""
    if float((apart.mean[empty] ** 2).sum()) >= _FEW * square:
        return f"{int((empty & (apart.mean != 0)).sum()):,} entries should be zero and are not"
    lost = ~empty & (apart.mean == -apart.exact)
    if float((apart.mean[lost] ** 2).sum()) >= _MOST * square:
        return f"{int(lost.sum()):,} entries are zero and should not be, beside {int(empty.sum()):,} that should"
    return ""


def _rest(apart: Apart, axis: int | None) -> float:
    """What of the difference is not along the gradient, in each slice with a factor of its own."""
    along = sums_along(apart.mean * apart.exact, axis)
    squares = sums_along(apart.exact**2, axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = np.where(squares > 0, along**2 / squares, 0.0).sum()
    rounding = (apart.noise * apart.size) ** 2 / POINTS  # in the mean over all points
    return float(np.sqrt(max(float((apart.mean**2).sum() - explained) - rounding, 0.0)))


def _local(apart: Apart) -> Slices | None:
    """The axis along which few slices hold nearly all of it."""
    found: Slices | None = None
    for along in apart.slices:
        total = float((along.apart**2).sum())
        inside = float((along.apart[along.wrong] ** 2).sum())
        share = float(along.wrong.mean())
        if 0 < share <= _FEW and inside >= _MOST * total and (found is None or share < float(found.wrong.mean())):
            found = along
    return found


def last_begins(apart: Apart) -> list[int]:
    """Where the wrong slices begin that go to an axis's end."""
    wrong = [np.flatnonzero(along.wrong) for along in apart.slices]
    lengths = [len(along.wrong) for along in apart.slices]
    return [int(w[0]) for w, n in zip(wrong, lengths, strict=True) if len(w) and len(w) == n - w[0] < n]


def _of_slices(apart: Apart, along: Slices) -> tuple[str, str]:
    wrong = np.flatnonzero(along.wrong)
    count, axis = len(along.wrong), along.axis
    named = f"{listed([str(index) for index in wrong], 5)} of {count} along axis {axis}"
    begin = int(wrong[0])
    block = begin & -begin
    if begin and len(wrong) == count - begin < block and block >= _BLOCK:
        return "tail", f"it is wrong in the last {count - begin} of {count} along axis {axis}, from {begin} on"
    if (np.abs(_factors(apart, axis)[wrong] + 1) < _NEAR).all():
        return "sign", f"its sign is turned in {named}"
    return "wrong-rows", f"it is wrong by {apart.worst:.2g} in {named}, and right in the others"


def _factors(apart: Apart, axis: int) -> Vector:
    squares = sums_along(apart.exact**2, axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > 0, 1 + sums_along(apart.mean * apart.exact, axis) / squares, 1.0)
