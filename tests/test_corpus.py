"""The corpus of gradient bugs: all found, at the right tensors, for the right cause; healthy twins left alone."""

import warnings

import numpy as np
import pytest
from gradient_bugs import CASES, judged

import wellposed as wp
from corpus import numpy_cases


@pytest.mark.parametrize(
    ("framework", "every"),
    [("numpy", 1), ("torch", 1), ("jax", 8), ("jax", 1)],
    ids=["numpy", "torch", "some jax", "jax"],
)
def test_bugs_are_found_and_explained_and_healthy_twins_hold(framework, every):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = {case.name: judged(case, seed) for seed, case in list(enumerate(CASES[framework]))[::every]}
    assert [name for name, result in results.items() if not result["found"]] == []
    assert [name for name, result in results.items() if result["alarm"]] == []
    if every == 1:
        assert np.mean([result["tensors"] for result in results.values()]) >= 0.97
        assert np.mean([result["cause"] for result in results.values()]) >= 0.90


def test_the_corpus_is_as_large_as_it_says():
    every = [case for cases in CASES.values() for case in cases]
    assert len(every) >= 60
    assert len({case.name for case in every}) == len(every)
    assert all(case.source for case in every)


def test_the_line_of_the_mistake_is_shown():
    case = next(case for case in numpy_cases.CASES if case.fault == "tanh' without the square")
    messages = [f.message for f in wp.check_gradients(case.build(case.fault, 0)).findings]
    assert any("takes 1 - a for the derivative" in m and 'np.tanh(X @ p["W1"] + p["b1"])' in m for m in messages)
