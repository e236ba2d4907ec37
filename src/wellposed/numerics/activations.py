"""The activation functions that have a name, as NumPy functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wellposed.numerics.arrays import Vector

RANGES = {
    "softmax": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, np.inf),
    "exp": (0.0, np.inf),
}
"""What an activation keeps its outputs within, by its name in the framework."""

Activation = Callable[[Vector], Vector]


def _elu(x: Vector) -> Vector:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))


def _sigmoid(x: Vector) -> Vector:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _gelu(x: Vector) -> Vector:
    from scipy import special  # here, because it takes longer to import than all of wellposed

    return np.asarray(x * special.ndtr(x))


def _softplus(x: Vector) -> Vector:
    return np.logaddexp(0.0, x)


def _erf(x: Vector) -> Vector:
    from scipy import special

    return np.asarray(special.erf(x))


_LAMBDA = 0.5  # of PyTorch's shrinking activations: what is cut off on either side


def _shrunk(x: Vector) -> Vector:
    return x - np.clip(x, -_LAMBDA, _LAMBDA)


def _sparse_plus(x: Vector) -> Vector:
    return np.where(x <= -1, 0.0, np.where(x >= 1, x, 0.25 * (x + 1) ** 2))


NAMED: dict[str, Activation] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "relu_squared": lambda x: np.maximum(x, 0.0) ** 2,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": _elu,
    "celu": _elu,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * _elu(x)),
    "gelu": _gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "silu": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "hardswish": lambda x: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hardsigmoid": lambda x: np.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hardtanh": lambda x: np.clip(x, -1.0, 1.0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "squareplus": lambda x: 0.5 * (x + np.sqrt(x * x + 4.0)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda x: np.clip(0.5 * (x + 1.0), 0.0, 1.0),
    "logsigmoid": lambda x: -_softplus(-x),
    "tanhshrink": lambda x: x - np.tanh(x),
    "softshrink": _shrunk,
    "hardshrink": lambda x: np.where(np.abs(x) > _LAMBDA, x, 0.0),
    "scaled_tanh": lambda x: 1.7159 * np.tanh(2.0 * x / 3.0),
    "arctan": np.arctan,
    "erf": _erf,
    "sin": np.sin,
    "cos": np.cos,
    "gaussian": lambda x: np.exp(-x * x),
    "exponential": np.exp,
    "snake": lambda x: x + np.sin(x) ** 2,
    "square": np.square,
    "abs": np.abs,
}
"""Each maps a float64 array to one of the same shape; parameters are the frameworks' defaults."""

GATES = {"glu": "sigmoid", "swiglu": "silu", "geglu": "gelu", "reglu": "relu", "bilinear": "linear"}
"""Gated units a * phi(b) of two halves of a layer's outputs, by phi (Dauphin et al. 2017; Shazeer 2020)."""

ALIASES = {
    "swish": "silu", "identity": "linear", "none": "linear", "logistic": "sigmoid", "hard_tanh": "hardtanh",
    "hard_sigmoid": "hardsigmoid",
    "hard_silu": "hardswish", "hard_swish": "hardswish", "hardsilu": "hardswish", "soft_sign": "softsign",
    "log_sigmoid": "logsigmoid",
    "leakyrelu": "leaky_relu", "relu2": "relu_squared", "squared_relu": "relu_squared", "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh", "atan": "arctan", "exp": "exponential", "siren": "sin",
    "tanh_shrink": "tanhshrink", "soft_shrink": "softshrink", "hard_shrink": "hardshrink", "quickgelu": "quick_gelu",
}  # fmt: skip

_FLAT_OF_STEEPEST = 0.01
_GRID = np.linspace(-50.0, 50.0, 4001)


def saturates(low: float, high: float) -> bool:
    """Whether a function that is flat below low and above high is so on both sides of 0."""
    return low < 0 and high < np.inf


def flat_beyond(phi: Activation) -> tuple[float, float]:
    """(low, high): below low and above high the slope of phi stays under a hundredth of its steepest; infinite where it
    does not.
    """
    with np.errstate(all="ignore"):
        steep = np.abs(np.diff(np.asarray(phi(_GRID.copy()), dtype=np.float64)))
    steep = np.where(np.isfinite(steep), steep, 0.0)
    sloped = np.flatnonzero(steep >= _FLAT_OF_STEEPEST * steep.max(initial=0.0))
    if not steep.any() or sloped.size == steep.size:
        return -np.inf, np.inf
    low, high = _GRID[sloped[0]], _GRID[sloped[-1] + 1]
    return float(low) if sloped[0] > 0 else -np.inf, float(high) if sloped[-1] < steep.size - 1 else np.inf


def odd_part(phi: Activation) -> Activation:
    """(phi(z) - phi(-z)) / 2."""
    return lambda z: 0.5 * (phi(z) - phi(-z))
