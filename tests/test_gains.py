import jax
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from torch import nn

import wellposed as wp
from wellposed.numerics.activations import NAMED
from wellposed.numerics.gaussian import expectations
from wellposed.numerics.meanfield import gradient_factor, length_map

# E[phi^2], E[phi'^2], chi_q for z ~ N(0, 1), as published or integrated independently to six digits.
TABLE = {
    "relu": (0.5, 0.5, 1.0), "elu": (0.644945, 0.668102, 0.891), "selu": (1.0, 1.071575, 0.783), "gelu": (0.425221, 0.455851, 1.144),
    "silu": (0.355776, 0.379482, 1.173), "mish": (0.452342, 0.479084, 1.076), "hardswish": (0.331567, 0.358532, 1.224),
    "tanh": (0.394294, 0.464403, 0.461), "hardtanh": (0.516059, 0.682689, 0.385), "softsign": (0.183014, 0.227671, 0.477),
    "sigmoid": (0.293379, 0.044836, 0.106), "softplus": (0.921246, 0.293379, 0.492),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_gains_of_the_table(name):
    square, slope_square, stability = TABLE[name]
    gain = wp.gain(name)
    assert gain.forward**-2 == pytest.approx(square, abs=1e-6)
    assert gain.backward**-2 == pytest.approx(slope_square, abs=1e-6)
    assert gain.stability == pytest.approx(stability, abs=5e-4)


EXACT = {
    "relu": (lambda z: max(z, 0), [0]),
    "leaky_relu": (lambda z: z if z > 0 else z / 100, [0]),
    "hardtanh": (lambda z: max(-1, min(1, z)), [-1, 1]),
    "tanh": (mpmath.tanh, []),
    "gelu": (lambda z: z * mpmath.ncdf(z), []),
    "softsign": (lambda z: z / (1 + abs(z)), [0]),
    "hardswish": (lambda z: z * max(0, min(6, z + 3)) / 6, [-3, 3]),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("q", [0.3, 1.0, 4.0])
def test_against_mpmath_kinks_included(name, q):
    exact, kinks = EXACT[name]
    root = mpmath.sqrt(q)
    cuts = sorted([-mpmath.inf, *(kink / root for kink in kinks), 0, mpmath.inf])
    square = mpmath.quad(lambda z: exact(root * z) ** 2 * mpmath.npdf(z), cuts)
    slope = mpmath.quad(lambda z: mpmath.diff(exact, root * z) ** 2 * mpmath.npdf(z), cuts)
    at = expectations(NAMED[name], q)
    assert at.square == pytest.approx(float(square), abs=1e-10)
    assert at.slope_square == pytest.approx(float(slope), abs=1e-8)


@pytest.mark.parametrize("thing", [nn.ReLU(), torch.relu, nn.functional.relu, jax.nn.relu, lambda x: np.maximum(x, 0), "ReLU"])
def test_relu_of_every_framework(thing):
    assert wp.gain(thing).forward == pytest.approx(2**0.5, abs=1e-9)
    assert wp.gain(thing).backward == pytest.approx(2**0.5, abs=1e-9)


def test_modules_with_parameters():
    assert wp.gain(nn.LeakyReLU(0.2)).forward == pytest.approx((2 / 1.04) ** 0.5, abs=1e-9)
    assert wp.gain(nn.PReLU(init=0.5)).forward == pytest.approx((2 / 1.25) ** 0.5, abs=1e-6)


def test_theory_of_he_weights():
    at = expectations(NAMED["relu"])
    assert length_map(at, 2.0) == pytest.approx(1)
    assert gradient_factor(at, 2.0) == pytest.approx(1)
    assert gradient_factor(at, 1 / 3) ** 0.5 == pytest.approx(0.408, abs=1e-3)


def test_advice():
    assert "unstable (chi_q = 1.17 > 1)" in wp.gain("silu").advice
    assert "centre it" in wp.gain("sigmoid").advice
    assert "no gradient passes" in wp.gain(lambda x: np.sign(x - 0.3)).advice
    assert "standard deviation 1.414/sqrt(fan_in)" in wp.gain("relu").advice


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("rleu", "there is no activation named 'rleu'"),
        (3, "an activation is a name or a function, not a int"),
        (lambda x: x[:3], "could not be evaluated"),
        (np.log, "no finite, positive"),
    ],
)
def test_bad_input_gets_one_clear_message(thing, words):
    with pytest.raises(wp.InputError, match=words):
        wp.gain(thing)


@given(kink=st.floats(-3, 3), q=st.floats(0.05, 9))
def test_a_kink_anywhere_is_found(kink, q):
    """E[max(0, x - k)^2] for x ~ N(0, q) in closed form: s^2 ((1 + a^2) Q(a) - a n(a)), a = k / s."""
    a = kink / q**0.5
    tail, density = special.ndtr(-a), np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
    at = expectations(lambda x: np.maximum(x - kink, 0), q)
    assert at.square == pytest.approx(q * ((1 + a * a) * tail - a * density), abs=1e-11 * max(1, q))
    assert at.slope_square == pytest.approx(tail, abs=1e-9)
