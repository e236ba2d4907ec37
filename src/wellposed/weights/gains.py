"""The gain of an activation: what the weights before it must make up for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.meanfield import edge_of_chaos, length_stability
from wellposed.weights.units import Unit, unit_of

_ENLARGED, _UNSTABLE = 100.0, 1e-9
_LARGEST_Q, _HUGE = 1e4, 1e24
_COARSE = 6  # splits: enough to find the way
_CROSSED, _STABLE_POINT_PRECISION = 1e-6, 1e-5


@dataclass(frozen=True)
class Gain:
    """Weights of standard deviation gain / sqrt(fan_in) keep the size of the signal through phi.

    At pre-activations of mean square q, z ~ N(0, 1): `forward` = sqrt(q / E[phi(sqrt(q) z)^2]) keeps that mean square
    (He et al. 2015), `backward` = E[phi'(sqrt(q) z)^2]^-1/2 keeps that of the gradient. `edge` = (sw, sb): weights of
    sw / sqrt(fan_in) and biases of standard deviation sb keep both, the edge of chaos at q (Poole et al. 2016;
    Schoenholz et al. 2017); None where sb^2 would be negative or no gradient passes. `stability` is chi_q = dq'/dq of
    the length map under the forward gain: above 1 a small deviation grows with depth. `mean` = E[phi] is what a bias
    must take away to centre the activation. Of a gated unit a phi(b) the slopes along a and b count together.
    """

    q: float
    forward: float
    backward: float
    edge: tuple[float, float] | None
    stability: float
    mean: float
    unit: Unit = field(repr=False)

    @cached_property
    def stable(self) -> tuple[float, float, float] | None:
        """(q, sw, sb) of the next larger operating point where both chi are 1, for an unstable elementwise activation
        that has one.
        """
        return _stable(self.unit, self.q) if self.stability > 1 + _UNSTABLE and self.unit.gate is None else None

    @cached_property
    def advice(self) -> str:
        """What to do with it, in a sentence."""
        return _advice(self)


def gain(activation: str | Callable[[Any], Any], q: float = 1.0) -> Gain:
    """The gain at pre-activations of mean square q, of an activation given by name or as a function of a NumPy array.

    Raises `InputError` for an unknown name, for a function that is not finite or neither elementwise nor a product of
    two halves, and for a q that is not positive.
    """
    if not (isinstance(q, Real) and 0 < q < np.inf):
        raise InputError(f"q is the mean square of the pre-activations, a positive number, not {q!r}")
    unit = unit_of(activation)
    at = unit.at(q)
    if not np.isfinite(at.square) or not 0 < at.square < _HUGE * q or not np.isfinite(at.slope_square):
        raise InputError(f"the activation {unit.name} has no finite, positive E[phi(z)^2] for z ~ N(0, {q:g})")
    # Below that, what is left of the slope is rounding: the activation is a step.
    backward = at.slope_square**-0.5 if at.slope_square > 1e-12 * at.square else np.inf
    forward, stability = (q / at.square) ** 0.5, length_stability(at)
    return Gain(q, forward, backward, edge_of_chaos(at), stability, at.mean, unit)


def _stable(unit: Unit, q: float) -> tuple[float, float, float] | None:
    """The next larger q where chi_q on the edge of chaos falls to 1: dq'/dq = sw^2 q d/dq E[phi^2] / q, sw^2 = 1 /
    E[phi'^2].

    q is found to about 1e-4, which moves chi_q as little; sw and sb belong to that q exactly.
    """

    def excess(q: float) -> float:
        here = unit.at(q, _COARSE)
        return here.square_curvature / (q * here.slope_square) - 1

    low, high = q, 4 * q
    below, above = excess(low), excess(high)
    while above > -_CROSSED and high < _LARGEST_Q:
        low, below, high, above = high, above, 4 * high, excess(4 * high)
    if not (below > 0 and above <= -_CROSSED):
        return None
    while high / low > 1 + _STABLE_POINT_PRECISION:  # the chord over log q, kept off the ends so that both close in
        q = low * (high / low) ** min(max(below / (below - above), 0.02), 0.98)
        here = excess(q)
        if abs(here) < _CROSSED:
            break
        low, below, high, above = (q, here, high, above) if here > 0 else (low, below, q, here)
    edge = edge_of_chaos(unit.at(q))
    return None if edge is None else (q, *edge)


def _advice(gain: Gain) -> str:
    name, forward, backward, stability = gain.unit.name, gain.forward, gain.backward, gain.stability
    if not np.isfinite(backward):
        return f"{name}: its slope is zero almost everywhere, so no gradient passes and no gain helps."
    if backward > 2 * forward:
        return (
            f"{name}: the weights that keep the gradient ({backward:.3g}/sqrt(fan_in)) are far larger than those that"
            f" keep the signal ({forward:.3g}/sqrt(fan_in)); centre it by biases of -{gain.mean:.3g} times the row"
            " sums, as wp.initialize does."
        )
    if stability > 1 + _UNSTABLE:
        layers = np.log(_ENLARGED) / np.log(stability)
        use = "normalisation, skips or wp.initialize(model, batch)"
        if gain.stable is not None:
            q, weights, biases = gain.stable
            use = (
                f"weights of {weights:.4g}/sqrt(fan_in) and biases of {biases:.3g}, stable at a mean square of {q:.3g},"
                f" or {use}"
            )
        return (
            f"{name}: the unit-variance gain {forward:.4g} is unstable beyond about {_rounded(layers)} layers "
            f"(chi_q = {stability:.3g} > 1); use {use}."
        )
    return f"{name}: weights of standard deviation {forward:.4g}/sqrt(fan_in) keep the signal's size."


def _rounded(layers: float) -> int:
    """To one significant digit, for a reader."""
    return int(float(f"{max(layers, 1):.1g}"))
