import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given
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


@example(name="cube", x=-4.1184058644483347e-104)  # whose values have few digits: they lie below the normal numbers
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
        (np.cbrt, 0.0, "goes on changing as the step shrinks, as at a root or a logarithm"),
        (lambda t: np.sqrt(np.abs(t)), 0.0, "goes on changing as the step shrinks"),
        (lambda t: t * np.log(np.abs(t)) if t else 0.0, 0.0, "goes on changing as the step shrinks"),
    ],
)
def test_what_cannot_be_known_is_said(f, x, words):
    estimate = wp.derivative(f, x)
    assert np.isnan(estimate.value)
    assert estimate.error == np.inf
    assert words in estimate.reason


@pytest.mark.parametrize("power", [1.3, 1.5, 1.9])
def test_a_slope_that_settles_slowly_has_a_bar_that_holds(power):
    estimate = wp.derivative(lambda t: np.sign(t) * np.abs(t) ** power, 0.0)
    assert abs(estimate.value) <= estimate.error


def test_a_root_at_the_edge_of_its_domain_has_no_slope():
    assert "as at a root" in wp.derivative(np.sqrt, 0.0, bounds=(0.0, None)).reason


MATRIX = np.random.default_rng(3).standard_normal((3, 4))


@pytest.mark.parametrize("method", ["differences", "complex"])
def test_jacobian(method):
    estimate = wp.jacobian(lambda x: np.tanh(MATRIX @ x), np.arange(4.0) / 4, method=method)
    exact = MATRIX / np.cosh(MATRIX @ np.arange(4.0) / 4)[:, None] ** 2
    assert estimate.value.shape == estimate.error.shape == (3, 4)
    assert (np.abs(estimate.value - exact) <= estimate.error + 1e-15).all()
    assert estimate.error.max() < (1e-9 if method == "differences" else 1e-13)


def test_a_component_that_does_not_depend_on_a_coordinate_has_slope_zero():
    estimate = wp.jacobian(lambda x: x[:2] * x[2], np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(estimate.value, [[3, 0, 1], [0, 3, 2]], atol=1e-12)


@pytest.mark.parametrize(("accuracy", "weights"), [(2, [-0.5, 0.5]), (4, [1 / 12, -2 / 3, 2 / 3, -1 / 12])])
def test_coefficients_are_exact(accuracy, weights):
    from wellposed.derivatives import stencils

    nodes, exact = stencils.central(accuracy)
    assert [float(w) for w in exact] == pytest.approx(weights)
    for power in range(accuracy + 1):
        assert sum(w * node**power for w, node in zip(exact, nodes, strict=True)) == (power == 1)


@given(accuracy=st.integers(1, 7), side=st.sampled_from([1, -1]))
def test_one_sided_coefficients_are_exact(accuracy, side):
    from wellposed.derivatives import stencils

    nodes, exact = stencils.one_sided(accuracy, side)
    for power in range(accuracy + 1):
        assert sum(w * node**power for w, node in zip(exact, nodes, strict=True)) == (power == 1)


@pytest.mark.parametrize(("f", "x", "bounds", "truth"), [
    (np.sqrt, 2.0, (2.0, None), 0.5 / 2**0.5), (np.log, 1e-3, (0.0, None), 1e3), (np.arcsin, 0.99, (-1, 1), (1 - 0.99**2) ** -0.5),
    (np.exp, 1.0, (None, 1.0), np.e),
])  # fmt: skip
def test_no_step_leaves_the_bounds(f, x, bounds, truth):
    seen = []

    def watched(t):
        seen.append(float(t))
        return f(t)

    estimate = wp.derivative(watched, x, bounds=bounds)
    lower, upper = (
        default if limit is None else limit for limit, default in zip(bounds, (-np.inf, np.inf), strict=True)
    )
    assert lower <= min(seen) <= max(seen) <= upper
    assert abs(estimate.value - truth) <= estimate.error < 1e-6 * abs(truth)


def test_many_points_share_the_calls_of_f():
    calls = []

    def f(t):
        calls.append(np.size(t))
        return np.sin(t)

    x = np.linspace(0.1, 3, 500)
    estimate = wp.derivative(f, x)
    assert (np.abs(estimate.value - np.cos(x)) <= estimate.error).mean() >= 0.99
    assert len(calls) < 40
    assert estimate.evaluations < 500 * 20


def test_a_function_that_mixes_its_entries_is_not_taken_for_an_elementwise_one():
    mixing = lambda t: t * np.sum(t)  # noqa: E731
    np.testing.assert_allclose(wp.derivative(mixing, np.array([1.0, 2.0])).value, [2, 4])


@pytest.mark.parametrize("make", [torch.tensor, jnp.array, np.array])
def test_arrays_of_every_framework(make):
    sine = {torch.tensor: torch.sin, jnp.array: jnp.sin, np.array: np.sin}[make]
    x = make([0.7, 0.2], dtype={torch.tensor: torch.float32, jnp.array: jnp.float32, np.array: np.float32}[make])
    for estimate in (wp.derivative(sine, x), wp.gradient(lambda t: sine(t).sum(), x)):
        assert (np.abs(estimate.value - np.cos([0.7, 0.2])) <= estimate.error).all()
        assert (np.asarray(estimate.error) < 1e-2).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_have_a_bar_of_their_own_noise(dtype):
    x = torch.tensor([0.7, -1.3, 0.25], dtype=dtype)
    estimate = wp.derivative(torch.tanh, x)
    truth = 1 / np.cosh(x.double().numpy()) ** 2
    assert (np.abs(estimate.value - truth) <= estimate.error).all()
    assert (estimate.error < 0.5).all()


def test_the_complex_step_is_exact_and_knows_where_it_is_not():
    estimate = wp.derivative(np.sin, 0.7, method="complex")
    assert abs(estimate.value - np.cos(0.7)) <= 2e-16
    assert (
        "the complex step disagrees with differences"
        in wp.derivative(lambda z: abs(z) * z, 0.7, method="complex").reason
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_published_problems_and_a_grid_of_our_own(dtype):
    """In small what `make bench-derivatives` prints: coverage and the error beside the best fixed step's."""
    import derivatives as benchmark

    covered, close, evaluations = [], [], []
    for case in [*benchmark.published(dtype, seed=5), *list(benchmark.grid(dtype, seed=5))[::5]]:
        answer = benchmark.measured(benchmark.ours, case)
        if np.isfinite(answer.bar):
            error = abs(answer.value - case.truth)
            covered.append(error <= answer.bar)
            close.append(error <= 3 * benchmark.best_fixed_step(case))
            evaluations.append(answer.evaluations)
    assert np.mean(covered) >= 0.99
    assert np.mean(close) >= (0.95 if dtype is np.float64 else 0.88)
    assert np.median(evaluations) <= 12


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.derivative(np.sin, 1j), "x must be real numbers, not complex128"),
        (lambda: wp.derivative(np.sin, np.nan), "x contains NaN or infinity"),
        (lambda: wp.gradient(np.sin, np.ones(3)), r"one real number, but it returned float64 of shape \(3,\)"),
        (lambda: wp.directional(np.sum, np.ones(3), np.ones(2)), r"v has shape \(2,\), but x has shape \(3,\)"),
        (lambda: wp.directional(np.sum, np.ones(3), np.zeros(3)), "not all zero"),
        (lambda: wp.derivative(np.sin, "a"), "x must be a number or an array of numbers, not str"),
        (lambda: wp.derivative(np.sin, 1.0, bounds=(2, 3)), r"x = 1 lies outside its bounds \[2, 3\]"),
        (
            lambda: wp.derivative(np.sin, np.ones(3), bounds=(np.zeros(2), None)),
            r"bounds do not fit x, which has shape \(3,\)",
        ),
        (lambda: wp.derivative(np.sin, 1.0, bounds=3), r"bounds must be a pair \(lower, upper\)"),
        (lambda: wp.jacobian(lambda x: x + 1j, np.ones(2)), "f must return real numbers, but it returned complex128"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()
