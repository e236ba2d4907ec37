"""The gain of an activation: what the weights before it must make up for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from wellposed.errors import InputError
from wellposed.numerics.activations import ALIASES, NAMED, Activation
from wellposed.numerics.gaussian import expectations
from wellposed.numerics.meanfield import length_stability


@dataclass(frozen=True, slots=True)
class Gain:
    """Weights of standard deviation gain / sqrt(fan_in) keep the size of the signal through phi.

    `forward` = E[phi(z)^2]^-1/2 keeps the mean square on the way forward (He et al. 2015),
    `backward` = E[phi'(z)^2]^-1/2 that of the gradient on its way back, z ~ N(0, 1).
    `stability` is dq'/dq of the length map under the forward gain: above 1 a small deviation grows
    with depth. `mean` = E[phi(z)] is what a bias must take away to centre the activation.
    """

    forward: float
    backward: float
    stability: float
    mean: float
    advice: str


def gain(activation: str | Callable[[Any], Any]) -> Gain:
    """The gain of an activation given by name or as an elementwise function of a NumPy array.

    Raises `InputError` for an unknown name, a function that is not elementwise or not finite.
    """
    name, phi = _resolved(activation)
    try:
        at = expectations(phi)
    except Exception as error:  # the caller's function: anything may come
        raise InputError(
            f"the activation {name} could not be evaluated on a float64 array: {error}",
            hint="give a function that maps an array to an array of the same shape, entry by entry",
        ) from error
    if not np.isfinite(at.square) or at.square == 0 or not np.isfinite(at.slope_square):
        raise InputError(f"the activation {name} has no finite, positive E[phi(z)^2] for z ~ N(0, 1)")
    # Below that, what is left of the slope is rounding: the activation is a step.
    backward = at.slope_square**-0.5 if at.slope_square > 1e-12 * at.square else np.inf
    forward, stability = at.square**-0.5, length_stability(at)
    return Gain(forward, backward, stability, at.mean, _advice(name, forward, backward, stability, at.mean))


def _resolved(activation: str | Callable[[Any], Any]) -> tuple[str, Activation]:
    if isinstance(activation, str):
        name = ALIASES.get(activation.lower(), activation.lower())
        if name not in NAMED:
            raise InputError(f"there is no activation named {activation!r}", hint=f"known: {', '.join(sorted(NAMED))}")
        return name, NAMED[name]
    if isinstance(activation, type):
        raise InputError(f"{activation.__name__} is a class, not an activation", hint=f"give an instance: {activation.__name__}()")
    if not callable(activation):
        raise InputError(f"an activation is a name or a function, not a {type(activation).__name__}")
    return getattr(activation, "__name__", type(activation).__name__), activation


def _advice(name: str, forward: float, backward: float, stability: float, mean: float) -> str:
    if not np.isfinite(backward):
        return f"{name}: its slope is zero almost everywhere, so no gradient passes and no gain helps."
    if backward > 2 * forward:
        return (
            f"{name}: the weights that keep the gradient ({backward:.3g}/sqrt(fan_in)) are far larger than those that keep the signal "
            f"({forward:.3g}/sqrt(fan_in)); centre it by biases of -{mean:.3g} times the row sums, as wp.initialize does."
        )
    if stability > 1 + 1e-9:
        return (
            f"{name}: the unit-variance gain {forward:.4g} is unstable (chi_q = {stability:.3g} > 1), so errors grow with depth; "
            "beyond some 30 layers add normalisation or skips."
        )
    return f"{name}: weights of standard deviation {forward:.4g}/sqrt(fan_in) keep the signal's size."
