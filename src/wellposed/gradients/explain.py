"""Why a tensor's gradient is wrong, where a simple cause explains every direction measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wellposed.gradients.probe import Probe


@dataclass(frozen=True, slots=True)
class Explanation:
    """`cause` is a named cause of WP501, `number` the factor or coefficient; empty where nothing fits."""

    cause: str = ""
    number: float = float("nan")
    words: str = ""


def explain(probes: Sequence[Probe]) -> Explanation:
    """The one-number cause that reproduces all measured slopes within their error bars.

    Tried are claimed = c measured (scale, sign) and measured = claimed + c w.u (a penalty c |w|^2 / 2).
    At least three directions are needed, so that one number cannot fit them by accident.
    """
    if len(probes) < 3:
        return Explanation()
    claimed, weight = (np.array([getattr(p, key) for p in probes]) for key in ("claimed", "weight"))
    measured, error = np.array([p.measured for p in probes]), np.array([p.error for p in probes])
    for word, regressor, target in (("scale", claimed, measured), ("decay", weight, measured - claimed)):
        precision = np.maximum(error, 1e-9 * np.abs(measured).max())
        norm = float(np.sum((regressor / precision) ** 2))
        if norm == 0:
            continue
        number = float(np.sum(regressor * target / precision**2)) / norm
        if np.all(np.abs(target - number * regressor) <= 2 * precision):
            return _scale(number) if word == "scale" else _decay(number)
    return Explanation()


def _scale(number: float) -> Explanation:
    if abs(number) < 1e-6:  # nothing of the claim is in the measurement: no factor
        return Explanation()
    if abs(number + 1) < 1e-3:
        return Explanation("sign", -1.0, "It has the wrong sign.")
    factor = 1 / number
    if abs(abs(factor) - 1) < 0.5:
        digits = 6 if f"{abs(factor):.6g}" != "1" else 12
        return Explanation("scale", factor, f"It is {factor:.{digits}g} times what it should be, in every direction.")
    side = f"{factor:.4g} times too large" if abs(factor) > 1 else f"too small: {factor:.4g} of what it should be"
    return Explanation("scale", factor, f"It is {side}, in every direction.")


def _decay(number: float) -> Explanation:
    if number > 0:
        return Explanation("missing-weight-decay", number, f"What is missing is {number:.4g} times the weight itself: an L2 term.")
    return Explanation("extra-weight-decay", -number, f"What is too much is {-number:.4g} times the weight itself: an L2 term.")
