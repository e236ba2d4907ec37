"""The claim holds the right numbers in the wrong places, or sums of them over the wrong axis."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import permutations

import numpy as np

from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.wrong_tensor import FEWEST_TELLING, Suspect
from wellposed.numerics.arrays import Vector

_BLOCKS = (2, 3, 4)
_SMALL = 64
_MOST_OF_ONE_SHAPE = 16  # tensors of that shape
_SINGULAR = 1e8


def transposed(suspect: Suspect) -> Explanation | None:
    """The claim transposed, or flattened in the other order, is right."""
    claim, shape = suspect.claim, suspect.shape
    if claim.ndim < 2:
        return None
    for axes in permutations(range(claim.ndim)):
        if axes == tuple(range(claim.ndim)):
            continue
        moved = claim.transpose(axes)
        if moved.shape == shape and suspect.fits_beside_decay(partial(np.transpose, axes=axes)):
            return Explanation(
                "transposed", f"Transposed ({', '.join(map(str, axes))}), the claim agrees with the loss."
            )
        for way, words in (
            (_read, "read in another order of its axes"),
            (_reshaped, "reshaped as the transposed array it seems to be"),
        ):
            if suspect.fits_beside_decay(partial(way, axes=axes, shape=shape)):
                return Explanation(
                    "transposed", f"The claim, {words}, agrees with the loss: a reshape stands for a transpose."
                )
    return None


def exchanged(suspect: Suspect) -> Explanation | None:
    """What is claimed for another tensor of that shape is right for this one."""
    for other, claim in list(suspect.alike.items())[:_MOST_OF_ONE_SHAPE]:
        if suspect.fits(claim):
            return Explanation(
                "permuted", f"What is claimed for `{other}` is its gradient: they are returned in the wrong order."
            )
    return None


def untransposed(suspect: Suspect) -> Explanation | None:
    """The claim was multiplied by a square matrix of the data where its transpose belongs: claim @ M^-1 @ M.T is
    right.
    """
    claim = suspect.claim
    for name, matrix in suspect.data.items() if claim.ndim else ():
        square = matrix.ndim == 2 and matrix.dtype.kind == "f" and matrix.shape[0] == matrix.shape[1] == claim.shape[-1]
        if square and np.linalg.cond(matrix) < _SINGULAR:
            for one in (matrix.astype(float), matrix.astype(float).T):
                if suspect.fits(np.linalg.solve(one.T, claim[..., None])[..., 0] @ one.T):
                    return Explanation(
                        "transposed",
                        f"It was multiplied by `{name}` where its transpose belongs, or the other way round.",
                    )
    return None


def _read(array: Vector, axes: tuple[int, ...], shape: tuple[int, ...]) -> Vector:
    return array.transpose(axes).reshape(shape)


def _reshaped(array: Vector, axes: tuple[int, ...], shape: tuple[int, ...]) -> Vector:
    return array.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes))


def permuted(suspect: Suspect) -> Explanation | None:
    """The claim with an axis reversed, shifted, or its blocks in another order is right."""
    for axis, words, other in _rearrangements(suspect.claim):
        if not np.array_equal(other, suspect.claim) and suspect.fits(other):
            return Explanation(
                "permuted",
                f"With {words}{f' along axis {axis}' if suspect.claim.ndim > 1 else ''}, the claim agrees with the"
                " loss.",
            )
    return _matched(suspect)


def _rearrangements(claim: Vector) -> Iterator[tuple[int, str, Vector]]:
    axes = [axis for axis, length in enumerate(claim.shape) if length > 1]
    for axis in axes:
        yield axis, "its order reversed", np.flip(claim, axis)
        for shift in (1, -1):
            yield axis, f"its entries shifted by {abs(shift)}", np.roll(claim, shift, axis)
    if len(axes) > 1:
        yield (
            axes[-1],
            "its last two axes both reversed (correlation for convolution)",
            np.flip(claim, tuple(axes[-2:])),
        )
    for axis in axes:
        for blocks in _BLOCKS:
            if claim.shape[axis] % blocks == 0 and claim.shape[axis] >= blocks:
                parts = np.split(claim, blocks, axis)
                for order in permutations(range(blocks)):
                    yield (
                        axis,
                        f"its {blocks} blocks in the order {order}",
                        np.concatenate([parts[k] for k in order], axis),
                    )


def _matched(suspect: Suspect) -> Explanation | None:
    """A small tensor measured whole: the same numbers, in some other order."""
    if not 2 < suspect.claim.size <= _SMALL:
        return None
    claim = suspect.claim.ravel()
    errors = [suspect.residuals.entry(flat) for flat in range(claim.size)]
    true = claim + [error.value for error in errors]
    order = np.argsort(np.argsort(true))
    matched = np.sort(claim)[order].reshape(suspect.shape)
    if np.unique(claim).size > 2 and not np.array_equal(matched, suspect.claim) and suspect.fits(matched):
        return Explanation("permuted", "The claim has the right numbers in the wrong order.")
    return None


def wrong_axis(suspect: Suspect) -> Explanation | None:
    """The claim's total is the true one, or that times the number of entries, though its entries are not: it was
    summed, or averaged, over another axis, or over all of them."""
    claim = suspect.claim
    constant = next((axis for axis, length in enumerate(claim.shape) if length > 1 and _even(claim, axis)), None)
    lengths = {array.shape[0] for array in suspect.data.values() if array.ndim}
    if claim.size < FEWEST_TELLING or (
        constant is None and (claim.ndim > 1 or (lengths and claim.size not in lengths))
    ):
        return None
    total, line = float(claim.sum()), suspect.measure(1 / suspect.residuals.sizes)
    slack = 2 * line.missing.bar
    if abs(total) <= max(slack, 1e-6 * float(np.abs(claim).sum())):
        return None  # a total of zero, as behind a softmax, is right whatever the entries are
    if not slack < 0.01 * _typical_error(suspect) * float(np.linalg.norm(line.u)):
        return None
    for factor in (1.0, float(claim.size), 1.0 / claim.size):
        if abs((factor - 1) * total - line.missing.value) <= slack and (
            factor == 1 or abs((factor - 1) * total) > 10 * slack
        ):
            same = f"It is the same all along axis {constant}. " if constant is not None and claim.ndim > 1 else ""
            times = "" if factor == 1 else f"{1 / factor:g} times " if factor < 1 else f"1/{factor:g} of "
            text = (
                f"{same}Its entries add up to {times}what they should, though they are wrong: the sum runs over the"
                " wrong axis."
            )
            return Explanation("wrong-axis", text)
    return None


def _even(claim: Vector, axis: int) -> bool:
    return bool(np.ptp(claim, axis=axis).max() <= 1e-12 * np.abs(claim).max())


def _typical_error(suspect: Suspect) -> float:
    """The error of a claim along the random lines, per length."""
    return float(np.median([abs(line.missing.value) / float(np.linalg.norm(line.u)) for line in suspect.lines[:4]]))
