import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wellposed as wp

mpmath.mp.dps = 60

FUNCTIONS = {
    "exp": (np.exp, mpmath.exp),
    "sin": (np.sin, mpmath.cos),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "tanh": (np.tanh, lambda x: mpmath.sech(x) ** 2),
    "runge": (lambda x: 1 / (1 + 25 * x * x), lambda x: -50 * x / (1 + 25 * x * x) ** 2),
    "offset": (lambda x: 1e6 + np.sin(x), mpmath.cos),
    "wave": (lambda x: np.sin(30 * x), lambda x: 30 * mpmath.cos(30 * x)),
}
"""A function of float64 and its exact derivative."""


def test_the_classic_example():
    f = lambda t: t**3  # noqa: E731
    two_sided, one_sided = (f(1.01) - f(0.99)) / 0.02, (f(1.01) - f(1)) / 0.01
    assert (round(two_sided, 4), round(one_sided, 4)) == (3.0001, 3.0301)
    estimate = wp.derivative(f, 1.0)
    assert abs(estimate.value - 3) <= estimate.error < 1e-9


@given(name=st.sampled_from(list(FUNCTIONS)), x=st.floats(-3, 3))
def test_the_truth_lies_within_three_bars(name, x):
    f, exact = FUNCTIONS[name]
    estimate = wp.derivative(f, x)
    truth = float(exact(mpmath.mpf(x)))
    assert abs(estimate.value - truth) <= 3 * estimate.error + 1e-13 * abs(truth)


def test_the_bar_covers_the_truth_in_99_of_100_cases_and_is_small():
    draw = np.random.default_rng(0)
    covered, relative = [], []
    for name in FUNCTIONS:
        f, exact = FUNCTIONS[name]
        for x in draw.uniform(-2, 2, 60):
            estimate, truth = wp.derivative(f, x), float(exact(mpmath.mpf(x)))
            covered.append(abs(estimate.value - truth) <= estimate.error)
            relative.append(estimate.error / max(abs(truth), 1e-3))
    assert np.mean(covered) >= 0.99
    assert np.median(relative) < 1e-7


@given(unit=st.sampled_from([1e-12, 1e-3, 1e3, 1e12]))
def test_units_do_not_matter(unit):
    estimate = wp.derivative(lambda t: np.sin(t / unit), 0.7 * unit)
    assert estimate.value * unit == pytest.approx(np.cos(0.7), rel=1e-7)


def test_float32_has_a_bar_of_its_own_noise():
    estimate = wp.derivative(lambda t: np.sin(t), np.float32(0.7))
    assert abs(estimate.value - np.cos(np.float32(0.7))) <= estimate.error < 1e-2


def test_gradient_and_directional():
    matrix = np.random.default_rng(0).standard_normal((3, 4))
    x = np.random.default_rng(1).standard_normal((3, 4))
    estimate = wp.gradient(lambda a: float((np.sin(a) * matrix).sum()), x)
    np.testing.assert_allclose(estimate.value, np.cos(x) * matrix, atol=1e-8)
    assert estimate.value.shape == estimate.error.shape == (3, 4)
    v = np.ones((3, 4))
    along = wp.directional(lambda a: float((np.sin(a) * matrix).sum()), x, v)
    assert along.value == pytest.approx(float((np.cos(x) * matrix).sum()), abs=1e-8)


@pytest.mark.parametrize(
    ("f", "x", "words"),
    [
        (np.abs, 0.0, "has a kink at the point: its slope is -1 on one side, 1 on the other"),
        (lambda t: float(t > 0), 0.0, "jumps at the point"),
        (lambda t: np.nan, 0.5, "not finite at the point"),
        (lambda t: np.nan if t < 0.5 else t, 0.5, "not finite on one side of the point"),
        (lambda t: np.nan if t != 0.5 else t, 0.5, "not finite near the point"),
        (lambda t: 2.0, 0.5, "does not change, to the last digit"),
    ],
)
def test_what_cannot_be_known_is_said(f, x, words):
    estimate = wp.derivative(f, x)
    assert np.isnan(estimate.value)
    assert estimate.error == np.inf
    assert words in estimate.reason


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.derivative(np.sin, 1j), "x must be real numbers, not complex128"),
        (lambda: wp.derivative(np.sin, np.nan), "x contains NaN or infinity"),
        (lambda: wp.gradient(np.sin, np.ones(3)), r"one real number, but it returned float64 of shape \(3,\)"),
        (lambda: wp.directional(np.sum, np.ones(3), np.ones(2)), r"v has shape \(2,\), but x has shape \(3,\)"),
        (lambda: wp.directional(np.sum, np.ones(3), np.zeros(3)), "not all zero"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()
