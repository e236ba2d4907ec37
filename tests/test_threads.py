"""Small problems are measured with one thread, larger ones with as many as there were; afterwards all is as before."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import wellposed as wp


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    with threadpool_limits(limits=2):
        torch.set_num_threads(2)
        yield
    torch.set_num_threads(before)


def checked(seconds):
    """A check of a loss that takes so long, and how many threads it saw."""
    x, seen = np.random.default_rng(0).standard_normal(20), []

    def value(params):
        time.sleep(seconds)
        seen.append((torch.get_num_threads(), max((pool["num_threads"] for pool in threadpool_info()), default=1)))
        return float(np.mean((params["a"] * x - 1) ** 2))

    problem = wp.FunctionProblem(value, lambda p: {"a": np.mean(2 * (p["a"] * x - 1) * x)}, {"a": np.array(0.3)})
    assert wp.checkup(problem)
    return seen


def test_a_small_problem_has_one_thread():
    assert set(checked(0)) == {(1, 1)}


def test_a_larger_one_has_as_many_as_before():
    assert set(checked(0.06)[1:]) == {(2, 2)}


@pytest.mark.parametrize("seconds", [0, 0.06])
def test_afterwards_there_are_as_many_as_before(seconds):
    checked(seconds)
    assert torch.get_num_threads() == 2
    assert {pool["num_threads"] for pool in threadpool_info()} <= {1, 2}
    assert max(pool["num_threads"] for pool in threadpool_info()) == 2


def test_they_are_put_back_where_the_check_raises_too():
    def value(params):
        raise ZeroDivisionError("no rows")

    with pytest.raises(wp.InputError):
        wp.checkup(wp.FunctionProblem(value, lambda p: p, {"a": np.array(0.3)}))
    assert torch.get_num_threads() == 2
