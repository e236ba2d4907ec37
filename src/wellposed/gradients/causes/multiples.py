"""The claim is a multiple of the truth, or lacks a multiple of the weights: one number explains every direction."""

from __future__ import annotations

import numpy as np

from wellposed.gradients.causes.explanation import Explanation
from wellposed.gradients.wrong_tensor import FEWEST_TELLING, Suspect
from wellposed.numerics.arrays import Array, Vector

_SIGN = 1e-3  # how far a factor may be from -1
_NEAR_ONE = 0.5  # of 1: a factor that is told by its digits

_FEWEST_FITTED = 8  # entries: fewer are fitted by two numbers too easily
_WHOLE_NUMBER = 1e-4  # as near to a whole number or a known count as that is that number


def scaled(suspect: Suspect) -> Explanation | None:
    """claimed = c * true."""
    return _multiple(suspect, suspect.coefficients([suspect.claim])) if suspect.claim.any() else None


def scaled_beside_decay(suspect: Suspect) -> Explanation | None:
    """All but an L2 term is a multiple: claimed = c * (true - d * theta) + d * theta."""
    if suspect.claim.size <= _FEWEST_FITTED or not suspect.claim.any():
        return None
    return _multiple(suspect, suspect.coefficients([suspect.claim, suspect.theta]))


def _multiple(suspect: Suspect, found: tuple[Vector, Vector] | None) -> Explanation | None:
    if found is None:
        return None
    true, doubt = 1 + float(found[0][0]), float(found[1][0])
    if abs(true) < max(4 * doubt, 1e-6):  # nothing of the claim is in the measurement: no factor
        return None
    factor = 1 / true
    if abs(factor + 1) < _SIGN:
        return Explanation("sign", "It has the wrong sign.", -1.0)
    count = _count(suspect, factor)
    if suspect.claim.size == 1 and not count:  # of one number any error is a factor
        return None
    text = _times(factor)
    if count:
        number, name, batch = count
        meaning = f"{number:g} is {name}" if abs(factor) > 1 else f"1/{number:g}, and {number:g} is {name}"
        cause = "mean-or-sum" if batch else "scale"
        usual = " A sum stands where the loss takes a mean, or the other way round." if batch else ""
        return Explanation(cause, f"{text} ({meaning}).{usual}", factor)
    usual = " Something is added twice, or a factor 1/2 is left out." if abs(factor - 2) < _WHOLE_NUMBER else ""
    return Explanation("scale", f"{text}.{usual}", factor)


def _times(factor: float) -> str:
    if abs(abs(factor) - 1) < _NEAR_ONE:
        digits = 6 if f"{abs(factor):.6g}" != "1" else 12
        return f"It is {factor:.{digits}g} times what it should be, in every direction"
    nearest = round(factor) if abs(factor) > 1 and abs(factor - round(factor)) < _WHOLE_NUMBER * abs(factor) else factor
    side = f"{nearest:.4g} times too large" if abs(factor) > 1 else f"too small: {factor:.4g} of what it should be"
    return f"It is {side}, in every direction"


def _count(suspect: Suspect, factor: float) -> tuple[float, str, bool] | None:
    """The number that the factor, or one over it, is: what it counts, and whether that is the batch or its elements."""
    size = max(abs(factor), 1 / abs(factor))
    for (
        name,
        array,
    ) in suspect.data.items():  # a mean over all where one over what a mask leaves belongs, or the other way round
        if (
            array.size
            and np.isin(array, (0, 1)).all()
            and array.any()
            and abs(size * array.sum() / array.size - 1) < _WHOLE_NUMBER
        ):
            return array.size / float(array.sum()), f"the size of `{name}` over its sum", True
    if size < 3 - 1e-3:
        return None
    for number, name, batch in counts(suspect.data):
        if abs(size - number) < 1e-3 * number:
            return number, name, batch
    return None


def counts(data: dict[str, Array]) -> list[tuple[float, str, bool]]:
    """Numbers that a factor may be, with words: how many examples, elements, classes, positions."""
    found: list[tuple[float, str, bool]] = []
    for name, array in data.items():
        if array.ndim:
            found.append((array.shape[0], f"the batch size (the length of `{name}`)", True))
        if array.ndim > 1:
            found.append((float(array.size), f"the number of elements of `{name}`", True))
            found.append(
                (float(np.prod(array.shape[:2])), f"the number of positions in `{name}` (batch times length)", True)
            )
            found += [
                (length, f"the length of axis {axis} of `{name}`", False)
                for axis, length in enumerate(array.shape)
                if axis
            ]
        if array.dtype.kind in "iu" and array.size and array.min() >= 0:
            found.append((float(array.max()) + 1, f"the number of classes in `{name}`", False))
    return found


def decayed(suspect: Suspect) -> Explanation | None:
    """true = claimed + c * theta, or + c * sign(theta): a penalty is missing, or too much."""
    if suspect.claim.size < FEWEST_TELLING:
        return None
    terms = [(suspect.theta, "the weight itself: an L2 term")]
    if np.unique(np.abs(suspect.theta)).size > 1:  # else the two are the same
        terms.append((np.sign(suspect.theta), "its sign: an L1 term"))
    for regressor, term in terms:
        found = suspect.coefficient(regressor)
        if found is not None and found[0] > 0:
            return Explanation("missing-weight-decay", f"What is missing is {found[0]:.4g} times {term}.", found[0])
        if found is not None:
            return Explanation("extra-weight-decay", f"What is too much is {-found[0]:.4g} times {term}.", -found[0])
    return None
