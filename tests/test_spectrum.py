"""`wp.spectrum` against the singular values of Jacobians that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import wellposed as wp
from networks import batch, classify, mlp


@given(seed=st.integers(0, 1000), outputs=st.integers(1, 20), inputs=st.integers(1, 20))
def test_a_small_jacobian_is_known_exactly(seed, outputs, inputs):
    torch.manual_seed(seed)
    W, x = torch.randn(inputs, outputs, dtype=torch.float64), torch.randn(5, inputs, dtype=torch.float64)
    found = wp.spectrum(lambda x: torch.tanh(x @ W), x)
    for row in range(4):
        J = (1 - torch.tanh(x[row] @ W) ** 2)[:, None] * W.T
        expected = torch.linalg.svdvals(J).numpy()
        assert found.values[row] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.largest == pytest.approx(found.values.max())
    assert found.mean_square == pytest.approx(np.mean(found.values**2))
    assert found.largest_error == 0


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), tall=st.booleans())
def test_a_large_one_within_its_stated_errors(seed, tall):
    torch.manual_seed(seed)
    shape = (700, 560) if tall else (560, 700)
    W = torch.randn(shape, dtype=torch.float64) / 30
    found = wp.spectrum(lambda x: x @ W, torch.randn(6, shape[0], dtype=torch.float64))
    exact = torch.linalg.svdvals(W)
    assert abs(found.largest - float(exact[0])) <= found.largest_error + 1e-9
    assert found.largest_error < 0.05 * found.largest
    assert abs(found.mean_square - float((exact**2).mean())) < 6 * found.mean_square_error + 0.02 * found.mean_square
    assert abs(found.log_variance - float(exact.log().var())) < 6 * found.log_variance_error + 0.1 * found.log_variance
    assert np.isnan(found.smallest)
    assert "smallest not known" in str(found)


def test_an_orthogonal_network_is_an_isometry_and_the_lecture_is_1_5_to_the_l():
    for weight in (1.0, 1.5):
        model = nn.Sequential(*[nn.Linear(16, 16, bias=False) for _ in range(10)])
        for layer in model:
            nn.init.orthogonal_(layer.weight).data.mul_(weight)
        x = batch()[0]
        found = wp.spectrum(wp.TorchProblem(model, nn.MSELoss(), (x, x)))
        assert found.smallest == pytest.approx(weight**10, rel=1e-5)
        assert found.largest == pytest.approx(weight**10, rel=1e-5)
        assert found.log_variance == pytest.approx(0, abs=1e-9)
        assert found.nonlinearity == pytest.approx(1, abs=0.5)  # few random vectors


def test_the_nonlinearity_coefficient_grows_with_depth_in_chaos():
    sizes = []
    for depth in (1, 12):
        torch.manual_seed(0)
        layers = [module for _ in range(depth) for module in (nn.Linear(128, 128), nn.Tanh())]
        model = nn.Sequential(*layers)
        for module in model:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 2.5 / 128**0.5)
        sizes.append(wp.spectrum(model, torch.randn(64, 128)).nonlinearity)
    assert 1 < sizes[0] < 3
    assert sizes[1] > 5 * sizes[0]


def test_jax_and_torch_agree():
    W = np.random.default_rng(0).standard_normal((12, 7)).astype("f4")
    x = np.random.default_rng(1).standard_normal((5, 12)).astype("f4")
    ours = wp.spectrum(lambda x: torch.sin(x @ torch.tensor(W)), torch.tensor(x))
    theirs = wp.spectrum(lambda x: jnp.sin(x @ W), jnp.asarray(x))
    assert theirs.values == pytest.approx(ours.values, rel=1e-4)
    assert isinstance(jax.numpy.asarray(theirs.largest), jax.Array)


def test_rows_that_batch_normalisation_mixes_are_taken_one_by_one():
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)).double()
    x = batch()[0].double()
    found = wp.spectrum(model, x)
    J = torch.autograd.functional.jacobian(model, x)
    assert found.values[2] == pytest.approx(torch.linalg.svdvals(J[2, :, 2]).numpy(), rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3,), "a problem, or a function and its inputs"),
        ((lambda x: x, "text"), "not a str"),
        ((lambda x: x.sum(), torch.ones(3, 2)), "one row for each of the inputs'"),
        ((lambda x: torch.ones(3, 2), torch.ones(3, 2)), "do not depend on the inputs"),
    ],
)
def test_what_has_no_spectrum_gets_one_message(arguments, words):
    with pytest.raises(wp.InputError) as error:
        wp.spectrum(*arguments)
    assert words in str(error.value)


def test_a_problem_whose_inputs_are_indices_says_what_to_do():
    tokens = torch.arange(12).reshape(4, 3)
    model = nn.Sequential(nn.Embedding(12, 4), nn.Flatten(), nn.Linear(12, 4))
    with pytest.raises(wp.InputError, match="function of real inputs") as error:
        wp.spectrum(classify(model, (tokens, torch.arange(4))))
    assert "wp.spectrum(function, x)" in str(error.value)


def test_a_spectrum_leaves_the_problem_as_it_was():
    problem = classify(mlp())
    kept = [p.clone() for p in problem.model.parameters()]
    x = problem.batch[0].clone()
    wp.spectrum(problem)
    assert all(torch.equal(a, b) for a, b in zip(kept, problem.model.parameters(), strict=True))
    assert torch.equal(problem.batch[0], x)
    assert not problem.batch[0].requires_grad


def test_a_module_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(inplace=True))
    kept, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    wp.spectrum(model, torch.randn(6, 8))
    torch.manual_seed(0)
    torch.set_rng_state(state)
    wp.spectrum(model, torch.randn(6, 8))
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    torch.set_rng_state(state)
    torch.randn(6, 8)
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    wp.spectrum(model, torch.randn(6, 8))
    assert torch.equal(torch.get_rng_state(), after)


def test_small_singular_values_that_products_do_not_resolve_are_not_claimed():
    torch.manual_seed(0)
    wide = torch.linalg.qr(torch.randn(700, 600, dtype=torch.float64)).Q * torch.logspace(
        -6, 2, 600, dtype=torch.float64
    )
    assert np.isnan(wp.spectrum(lambda x: x @ wide.T, torch.randn(4, 600, dtype=torch.float64)).log_variance)
    wide[:, :300] = 0
    found = wp.spectrum(lambda x: x @ wide.T, torch.randn(4, 600, dtype=torch.float64))
    assert not np.isfinite(found.log_variance)


@pytest.mark.parametrize(
    ("function", "x", "words"),
    [
        (lambda x: x, torch.zeros(0, 8), "dense tensor of real inputs"),
        (lambda x: x, torch.arange(6).reshape(3, 2), "dense tensor of real inputs"),
        (lambda x: (1000 * x).exp(), torch.ones(3, 2), "NaN or infinite at this batch"),
        (lambda x: x.mul_(0).sqrt(), torch.zeros(3, 2), "Jacobian is NaN or infinite"),
        (nn.Linear(2, 2).requires_grad_(), torch.ones(3, 2, dtype=torch.complex64), "dense tensor of real inputs"),
        (lambda x: jnp.ones((3, 2)), jnp.ones((3, 2), dtype=int), "array of real inputs"),
        (lambda x: (x, x), jnp.ones((3, 2)), "returns one array, not a tuple"),
    ],
)
def test_odd_inputs_get_one_message(function, x, words):
    with pytest.raises(wp.InputError) as error:
        wp.spectrum(function, x)
    assert words in str(error.value)


def test_a_number_of_examples_is_demanded():
    with pytest.raises(wp.InputError, match="examples must be a whole number from 1 on"):
        wp.spectrum(mlp(), batch()[0], examples=0)
