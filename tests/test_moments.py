import json
from fractions import Fraction
from math import log10
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wellposed as wp

NIST = json.loads((Path(__file__).parent / "data/strd_univariate.json").read_text())


def exact(values):
    numbers = [Fraction(float(v)) for v in values]
    mean = sum(numbers) / len(numbers)
    return mean, sum((n - mean) ** 2 for n in numbers) / len(numbers)


def digits(found, truth):
    error = abs(Fraction(float(found)) - truth) / abs(truth)
    return 17.0 if error == 0 else -log10(error)


@pytest.mark.parametrize("name", NIST)
def test_nist_reference_data_in_random_batches(name):
    column = np.array([float(entry) for entry in NIST[name]["y"]])[:, None]
    mean, variance = exact(column[:, 0])
    draw = np.random.default_rng(0)
    for _ in range(5):
        cuts = np.sort(draw.integers(0, len(column), 8))
        parts = [wp.Moments.of(part) for part in np.split(column, cuts)]
        draw.shuffle(parts)
        while len(parts) > 1:
            i = int(draw.integers(len(parts) - 1))
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        # two units per digit: the variance's relative error is twice the deviation's
        assert digits(parts[0].var[0], variance) > 14.5
        assert digits(parts[0].mean[0], mean) > 14.5
        assert parts[0].count[0] == len(column)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.integers(0, 40))
def test_merging_is_the_whole(values, cut):
    column = np.array(values)[:, None]
    whole, merged = wp.Moments.of(column), wp.Moments.of(column[:cut]) + wp.Moments.of(column[cut:])
    assert merged.count[0] == whole.count[0]
    assert (merged.min[0], merged.max[0]) == (whole.min[0], whole.max[0])
    scale = np.abs(column).max()
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(merged.std, whole.std, rtol=1e-7, atol=1e-12 * scale)


def test_nan_and_infinity_are_counted_and_skipped():
    moments = wp.Moments.of(np.array([[1.0, np.nan], [3.0, np.inf], [np.nan, np.nan]]))
    assert moments.nan_count.tolist() == [1, 2]
    assert moments.inf_count.tolist() == [0, 1]
    assert moments.mean[0] == 2
    assert np.isnan(moments.mean[1])


def test_blocks_are_merged(monkeypatch):
    from wellposed.numerics import accumulate

    data = np.random.default_rng(0).standard_normal((1000, 3)) + 1e6
    monkeypatch.setattr(accumulate, "_BLOCK", 2000)
    np.testing.assert_allclose(wp.Moments.of(data).std, data.std(axis=0), rtol=1e-9)
