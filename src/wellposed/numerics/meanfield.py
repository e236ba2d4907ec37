"""Mean-field theory of signals in wide random networks (Poole 2016; Schoenholz 2017).

One layer with weights of variance sw^2 / fan_in and biases of variance sb^2 maps the mean square of
the pre-activation by q' = sw^2 E[phi(sqrt(q) z)^2] + sb^2, and multiplies the mean square of the
gradient on its way back by chi_1 = sw^2 E[phi'(sqrt(q) z)^2].
"""

from __future__ import annotations

from wellposed.numerics.gaussian import Expectations


def length_map(at: Expectations, weight_variance: float, bias_variance: float = 0.0) -> float:
    """q' = sw^2 E[phi^2] + sb^2, for `weight_variance` = sw^2 = fan_in * var(W)."""
    return weight_variance * at.square + bias_variance


def gradient_factor(at: Expectations, weight_variance: float) -> float:
    """chi_1 = sw^2 E[phi'^2]: below 1 the gradient vanishes with depth, above 1 it explodes."""
    return weight_variance * at.slope_square


def length_stability(at: Expectations) -> float:
    """chi_q = dq'/dq at the fixed point q' = q with sb = 0: above 1 the unit-variance gain is unstable.

    With sw^2 = q / E[phi^2], dq'/dq = sw^2 E[phi^2 (z^2 - 1)] / (2 q).
    """
    return at.square_curvature / at.square


def edge_of_chaos(at: Expectations) -> tuple[float, float] | None:
    """(sw, sb) that keep length and gradient at q: sw^2 = 1 / E[phi'^2], sb^2 = q - sw^2 E[phi^2]; None where that is
    negative.
    """
    if not at.slope_square > 1e-12 * at.square:
        return None
    left = at.q - at.square / at.slope_square
    if left < -1e-9 * at.q:
        return None
    return float(at.slope_square**-0.5), float(left**0.5) if left > 1e-9 * at.q else 0.0


def to_be_centred(at: Expectations) -> bool:
    """Whether weights that keep the gradient are more than twice those that keep the length: 1 / E[phi'^2] > 4 q /
    E[phi^2].
    """
    return bool(at.slope_square > 0 and 4 * at.q * at.slope_square < at.square)
