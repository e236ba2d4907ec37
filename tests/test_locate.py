"""Wrong entries, rows and blocks of a tensor, located from residuals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wellposed as wp
from wellposed.gradients.locate import locate
from wellposed.gradients.prober import Prober
from wellposed.gradients.residuals import Residuals


def search(error, budget=400, seed=0):
    """Locate the errors of a smooth layer's gradient."""
    random = np.random.default_rng(seed)
    shape = error.shape
    W, X = random.standard_normal(shape), random.standard_normal((6, error.size)) / np.sqrt(error.size)
    problem = wp.FunctionProblem(
        lambda p: float((np.tanh(X @ p["W"].ravel()) ** 2).mean()),
        lambda p: {
            "W": (
                (X.T @ (2 * np.tanh(z) * (1 - np.tanh(z) ** 2) / 6)) if (z := X @ p["W"].ravel()) is not None else 0
            ).reshape(shape)
            + error
        },
        {"W": W},
    )
    theta = problem.theta()
    prober = Prober(problem, theta, problem.layout.pack_known(problem.gradient(theta)))
    place = slice(0, theta.size)
    probes = [prober.probe(prober.directions.random_direction(place)) for _ in range(2)]
    return locate(Residuals(prober, place, probes), shape, budget)


SIZE = 1e-4  # of an error; gradient entries are about 1e-3


@given(st.integers(0, 10_000), st.sampled_from([(40, 50), (2000,), (8, 5, 10, 5)]))
def test_one_wrong_entry_is_found_in_few_evaluations(seed, shape):
    error = np.zeros(shape)
    index = tuple(int(np.random.default_rng(seed).integers(n)) for n in shape)
    error[index] = SIZE
    found = search(error, seed=seed)
    assert [entry.index for entry in found.entries] == [index]
    assert found.entries[0].error == pytest.approx(-SIZE, abs=found.entries[0].bar)
    assert found.complete
    assert found.evaluations <= 100  # where a first reading fails, blocks are halved; mostly it is 8


def test_one_wrong_entry_takes_twelve_evaluations_as_a_rule():
    spent = []
    for seed in range(20):
        error = np.zeros((40, 50))
        error[seed, 2 * seed] = SIZE
        spent.append(search(error, seed=seed).evaluations)
    assert np.median(spent) <= 12


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_several_wrong_entries_are_found_exactly(seed, count):
    random = np.random.default_rng(seed)
    error = np.zeros(60 * 40)
    places = random.choice(error.size, count, replace=False)
    error[places] = SIZE * random.choice([-1.0, 1.0], count)  # some cancel in any plain sum
    found = search(error.reshape(60, 40), seed=seed)
    assert {int(np.ravel_multi_index(entry.index, (60, 40))) for entry in found.entries} == set(map(int, places))


@pytest.mark.parametrize(("index", "expected"), [((3, slice(None)), (3, None)), ((slice(None), 39), (None, 39))])
def test_a_wrong_row_or_column_is_named_as_one(index, expected):
    error = np.zeros((60, 40))
    error[index] = SIZE * np.random.default_rng(0).uniform(0.5, 1.5, error[index].shape)
    found = search(error)
    assert [piece.index for piece in found.slices] == [expected]
    assert not found.entries


def test_two_wrong_columns_are_two_slices():
    error = np.zeros((60, 40))
    error[:, [5, 9]] = SIZE * np.random.default_rng(0).uniform(0.5, 1.5, (60, 2))
    assert sorted(piece.index for piece in search(error).slices) == [(None, 5), (None, 9)]


def test_an_error_everywhere_is_told_by_a_sample():
    random = np.random.default_rng(0)
    found = search(SIZE * (random.random((60, 40)) < 0.6) * random.standard_normal((60, 40)))
    assert found.dense
    assert 0.4 < found.fraction < 0.8
    assert found.evaluations < 150


def test_a_budget_is_kept_and_said():
    random = np.random.default_rng(0)
    found = search(SIZE * (random.random((60, 40)) < 0.05), budget=100)
    assert not found.complete
    assert found.evaluations < 200
