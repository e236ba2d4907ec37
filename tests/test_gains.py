import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from torch import nn

import wellposed as wp
from exact_activations import EXACT, exact_moments
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


def some_of(names, every=4):
    """Each stands for a formula of its own: `make test-all` has them all."""
    return [pytest.param(name, marks=[pytest.mark.slow] if at % every else []) for at, name in enumerate(names)]


@pytest.mark.parametrize("name", some_of(EXACT))
def test_every_gain_against_mpmath_kinks_included(name):
    given, phi, kinks = EXACT[name]
    square, slope = exact_moments(phi, kinks)
    gain = wp.gain(given)
    assert gain.forward == pytest.approx(square**-0.5, rel=1e-11)
    assert gain.backward == pytest.approx(slope**-0.5, rel=1e-11)


@pytest.mark.parametrize(
    "name", ["relu6", "hardtanh", "tanh", "gelu", "softsign", "hardswish", "hardshrink", "a kink at 0.7"]
)
@pytest.mark.parametrize("q", [0.3, 4.0])
def test_at_other_operating_points(name, q):
    given, phi, kinks = EXACT[name]
    square, slope = exact_moments(phi, kinks, q)
    gain = wp.gain(given, q)
    assert gain.forward == pytest.approx((q / square) ** 0.5, rel=1e-10)
    assert gain.backward == pytest.approx(slope**-0.5, rel=1e-10)


def test_the_edge_of_chaos_keeps_length_and_gradient():
    for name, edge in (
        ("tanh", (1.4674, 0.3885)),
        ("elu", (1.2234, 0.1862)),
        ("silu", (1.6233, 0.2499)),
        ("softsign", (2.0958, 0.4429)),
    ):
        found = wp.gain(name).edge
        assert found == pytest.approx(edge, abs=1e-4)
        at = expectations(NAMED[name])
        assert length_map(at, found[0] ** 2, found[1] ** 2) == pytest.approx(1)
        assert gradient_factor(at, found[0] ** 2) == pytest.approx(1)
    assert wp.gain("relu").edge == pytest.approx((2**0.5, 0))
    assert wp.gain("sigmoid").edge is None


@pytest.mark.parametrize(
    ("name", "q", "weights", "biases"),
    [("gelu", 3.5616, 1.98306, 0.17292), ("silu", 14.3202, 1.98801, 0.55514), ("mish", 1.6702, 2.01352, 0.09452)],
)
def test_points_where_both_chi_are_one(name, q, weights, biases):
    found = wp.gain(name).stable
    assert found[0] == pytest.approx(q, rel=1e-4)
    assert found[1] ** 2 == pytest.approx(weights, rel=1e-4)
    assert found[2] ** 2 == pytest.approx(biases, rel=1e-4)
    assert wp.gain("tanh").stable is None


def _swiglu(x):
    a, b = x.chunk(2, dim=-1)
    return nn.functional.silu(a) * b


@pytest.mark.parametrize(
    ("given", "gate"),
    [
        ("glu", "sigmoid"), (nn.GLU(), "sigmoid"), (nn.functional.glu, "sigmoid"), (jax.nn.glu, "sigmoid"), ("SwiGLU", "silu"), (_swiglu, "silu"),
        (lambda a, b: a * np.maximum(b, 0), "relu"), ("bilinear", "linear"),
    ],
)  # fmt: skip
def test_gated_units_are_products(given, gate):
    """E[(a g)^2] = E[g^2]; the slopes are g along a and a g' along b."""
    at = expectations(NAMED[gate])
    assert wp.gain(given).forward == pytest.approx(at.square**-0.5, rel=1e-10)
    assert wp.gain(given).backward == pytest.approx((at.square + at.slope_square) ** -0.5, rel=1e-10)


def test_a_gated_layer_has_the_moments_of_its_gain():
    torch.manual_seed(0)
    gain = wp.gain("swiglu")
    x = torch.randn(4000, 300, requires_grad=True)
    y = _swiglu(x @ (torch.randn(600, 300) / 300**0.5).T)
    assert y.square().mean().item() == pytest.approx(gain.forward**-2, rel=0.05)
    (slope,) = torch.autograd.grad(y, x, torch.randn_like(y))
    assert slope.square().mean().item() == pytest.approx(gain.backward**-2, rel=0.05)


@pytest.mark.parametrize(
    "thing", [nn.ReLU(), torch.relu, nn.functional.relu, jax.nn.relu, lambda x: np.maximum(x, 0), "ReLU"]
)
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
    assert wp.gain("silu").advice == (
        "silu: the unit-variance gain 1.677 is unstable beyond about 30 layers (chi_q = 1.17 > 1); use weights of 1.41/sqrt(fan_in) and "
        "biases of 0.745, stable at a mean square of 14.3, or normalisation, skips or wp.initialize(model, batch)."
    )
    assert "beyond about 50 layers" in wp.gain("glu").advice
    assert "centre it" in wp.gain("sigmoid").advice
    assert "no gradient passes" in wp.gain(lambda x: np.sign(x - 0.3)).advice
    assert "standard deviation 1.414/sqrt(fan_in)" in wp.gain("relu").advice


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("rleu", "there is no activation named 'rleu'"),
        (3, "an activation is a name or a function, not a int"),
        (np.log, "no finite, positive"),
        (lambda x: x[:3], "makes an array of shape"),
        (lambda x: torch.softmax(x, -1), "is not elementwise: an entry of its output depends on other entries"),
        (lambda x: x - x.mean(), "is not elementwise"),
        (lambda x: np.exp(x * x), "no finite, positive"),
        (lambda a, b: a + b, "is no product of a function of each half"),
        (nn.ReLU, "ReLU is a class, not an activation"),
        (lambda x: {}["missing"], "could not be evaluated"),
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
