"""Activations beside what they are in mpmath: (given to wp.gain, exact function, kinks)."""

import jax
import mpmath as mp
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def _softplus(x):
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def _clip(low, high, slope=1, shift=0):
    return lambda x: max(low, min(high, slope * x + shift))


def _elu(alpha=1, scale=1, inner=1):
    return lambda x: scale * x if x > 0 else scale * alpha * mp.expm1(x / inner)


def _leaky(slope):
    return lambda x: x if x > 0 else slope * x


def _gelu(x):
    return x * mp.ncdf(x)


def _gelu_tanh(x):
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def _shrink(edge, soft):
    return lambda x: (x - mp.sign(x) * edge if soft else x) if abs(x) > edge else mp.mpf(0)


_SELU = _elu(1.6732632423543772, 1.0507009873554805)

EXACT = {
    # by name
    "linear": ("linear", lambda x: x, []),
    "relu": ("relu", _clip(0, mp.inf), [0]),
    "relu6": ("relu6", _clip(0, 6), [0, 6]),
    "relu_squared": ("relu_squared", lambda x: max(x, 0) ** 2, [0]),
    "leaky_relu": ("leaky_relu", _leaky(mp.mpf("0.01")), [0]),
    "elu": ("elu", _elu(), [0]),
    "selu": ("selu", _SELU, [0]),
    "gelu": ("gelu", _gelu, []),
    "gelu_tanh": ("gelu_tanh", _gelu_tanh, []),
    "quick_gelu": ("quick_gelu", lambda x: x * _sigmoid(mp.mpf("1.702") * x), []),
    "silu": ("silu", lambda x: x * _sigmoid(x), []),
    "mish": ("mish", lambda x: x * mp.tanh(_softplus(x)), []),
    "hardswish": ("hardswish", lambda x: x * _clip(0, 6, 1, 3)(x) / 6, [-3, 3]),
    "hardsigmoid": ("hardsigmoid", lambda x: _clip(0, 6, 1, 3)(x) / 6, [-3, 3]),
    "hardtanh": ("hardtanh", _clip(-1, 1), [-1, 1]),
    "tanh": ("tanh", mp.tanh, []),
    "scaled_tanh": ("scaled_tanh", lambda x: mp.mpf("1.7159") * mp.tanh(2 * x / 3), []),
    "sigmoid": ("sigmoid", _sigmoid, []),
    "softplus": ("softplus", _softplus, []),
    "softsign": ("softsign", lambda x: x / (1 + abs(x)), [0]),
    "squareplus": ("squareplus", lambda x: (x + mp.sqrt(x * x + 4)) / 2, []),
    "sparse_plus": ("sparse_plus", lambda x: mp.mpf(0) if x < -1 else x if x > 1 else (x + 1) ** 2 / 4, [-1, 1]),
    "sparse_sigmoid": ("sparse_sigmoid", _clip(0, 1, mp.mpf(1) / 2, mp.mpf(1) / 2), [-1, 1]),
    "logsigmoid": ("logsigmoid", lambda x: -_softplus(-x), []),
    "tanhshrink": ("tanhshrink", lambda x: x - mp.tanh(x), []),
    "softshrink": ("softshrink", _shrink(mp.mpf(1) / 2, True), [-0.5, 0.5]),
    "hardshrink": ("hardshrink", _shrink(mp.mpf(1) / 2, False), [-0.5, 0.5]),
    "arctan": ("arctan", mp.atan, []),
    "erf": ("erf", mp.erf, []),
    "sin": ("sin", mp.sin, []),
    "cos": ("cos", mp.cos, []),
    "gaussian": ("gaussian", lambda x: mp.exp(-x * x), []),
    "exponential": ("exponential", mp.exp, []),
    "snake": ("snake", lambda x: x + mp.sin(x) ** 2, []),
    "square": ("square", lambda x: x * x, []),
    "abs": ("abs", abs, [0]),
    # torch: functions and modules with settings of their own
    "F.elu(2)": (nn.ELU(2.0), _elu(2), [0]),
    "CELU(0.5)": (nn.CELU(0.5), _elu(0.5, 1, 0.5), [0]),
    "LeakyReLU(0.2)": (nn.LeakyReLU(0.2), _leaky(mp.mpf(0.2)), [0]),
    "PReLU(0.25)": (nn.PReLU(), _leaky(mp.mpf(1) / 4), [0]),
    "RReLU": (nn.RReLU(), _leaky((mp.mpf(1) / 8 + mp.mpf(1) / 3) / 2), [0]),
    "Hardtanh(-2, 0.5)": (nn.Hardtanh(-2.0, 0.5), _clip(-2, 0.5), [-2, 0.5]),
    "Softplus(2)": (nn.Softplus(2), lambda x: _softplus(2 * x) / 2, []),
    "Softshrink(1)": (nn.Softshrink(1.0), _shrink(1, True), [-1, 1]),
    "Hardshrink(0.3)": (nn.Hardshrink(0.3), _shrink(mp.mpf(0.3), False), [-0.3, 0.3]),
    "Threshold(0.1, 0.1)": (nn.Threshold(0.1, 0.1), lambda x: x if x > 0.1 else mp.mpf(0.1), [0.1]),
    "GELU(tanh)": (nn.GELU("tanh"), _gelu_tanh, []),
    "nn.Hardswish": (nn.Hardswish(), lambda x: x * _clip(0, 6, 1, 3)(x) / 6, [-3, 3]),
    "F.silu": (F.silu, lambda x: x * _sigmoid(x), []),
    "F.mish": (F.mish, lambda x: x * mp.tanh(_softplus(x)), []),
    "torch.sin": (torch.sin, mp.sin, []),
    "F.selu": (F.selu, _SELU, [0]),
    # JAX
    "jax.nn.gelu": (jax.nn.gelu, _gelu_tanh, []),
    "jax.nn.hard_tanh": (jax.nn.hard_tanh, _clip(-1, 1), [-1, 1]),
    "jax.nn.squareplus": (jax.nn.squareplus, lambda x: (x + mp.sqrt(x * x + 4)) / 2, []),
    "jax.nn.sparse_plus": (jax.nn.sparse_plus, lambda x: mp.mpf(0) if x < -1 else x if x > 1 else (x + 1) ** 2 / 4, [-1, 1]),
    "jax.nn.softplus": (jax.nn.softplus, _softplus, []),
    "jax.nn.celu": (jax.nn.celu, _elu(), [0]),
    # functions that nobody has named
    "x / sqrt(1 + x^2)": (lambda x: x / np.sqrt(1 + x * x), lambda x: x / mp.sqrt(1 + x * x), []),
    "phish": (
        lambda x: x * torch.tanh(F.gelu(x)),
        lambda x: x * mp.tanh(_gelu(x)),
        [],
    ),
    "smish": (
        lambda x: x * np.tanh(np.log1p(1 / (1 + np.exp(-x)))),
        lambda x: x * mp.tanh(mp.log1p(_sigmoid(x))),
        [],
    ),
    "a kink at 0.7": (lambda x: np.where(x > 0.7, 3 * x - 1.4, x), lambda x: 3 * x - 1.4 if x > 0.7 else x, [0.7]),
    "log(1 + |x|)": (lambda x: np.sign(x) * np.log1p(np.abs(x)), lambda x: mp.sign(x) * mp.log1p(abs(x)), [0]),
    "bent identity": (lambda x: (np.sqrt(x * x + 1) - 1) / 2 + x, lambda x: (mp.sqrt(x * x + 1) - 1) / 2 + x, []),
    "serf": (
        lambda x: x * torch.erf(F.softplus(x)),
        lambda x: x * mp.erf(_softplus(x)),
        [],
    ),
}  # fmt: skip


def exact_moments(phi, kinks, q=1.0):
    """E[phi^2] and E[phi'^2] at sqrt(q) z, to mpmath's precision."""
    root = mp.sqrt(q)
    cuts = sorted(
        {
            -mp.inf,
            mp.mpf(-6),
            mp.mpf(-2),
            *(mp.mpf(kink) / root for kink in kinks),
            mp.mpf(0),
            mp.mpf(2),
            mp.mpf(6),
            mp.inf,
        }
    )
    square = mp.quad(lambda z: phi(root * z) ** 2 * mp.npdf(z), cuts)
    slope = mp.quad(lambda z: mp.diff(phi, root * z) ** 2 * mp.npdf(z), cuts)
    return float(square), float(slope)
