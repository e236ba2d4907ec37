import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wellposed as wp

DATA = np.random.default_rng(0).standard_normal((200, 5)) * [1, 10, 1e-9, 1e9, 3] + [0, 1e4, 0, 1e9, 7]


def test_mean_zero_deviation_one_and_back():
    standardizer = wp.Standardizer().fit(DATA)
    z = standardizer.transform(DATA)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(standardizer.inverse_transform(z), DATA, rtol=1e-12)


@given(hnp.arrays(np.float64, (7, 3), elements=st.floats(-1e6, 1e6)))
def test_transform_then_inverse_is_the_identity(x):
    standardizer = wp.Standardizer().fit(x)
    np.testing.assert_allclose(
        standardizer.inverse_transform(standardizer.transform(x)), x, rtol=1e-9, atol=1e-9 * np.abs(x).max() + 1e-300
    )


def test_test_data_are_scaled_with_the_training_set_s_numbers():
    standardizer = wp.Standardizer().fit(DATA)
    np.testing.assert_allclose(standardizer.transform(DATA + standardizer.scale_).mean(axis=0), 1, rtol=1e-6)


def test_large_mean_in_float32_keeps_its_digits():
    x = (1e6 + np.random.default_rng(1).standard_normal((100_000, 1))).astype(np.float32)
    standardizer = wp.Standardizer().fit(x)
    exact = x.astype(np.float64)
    assert standardizer.scale_[0] == pytest.approx(exact.std(), rel=1e-12)
    np.testing.assert_allclose(standardizer.transform(x), (exact - exact.mean()) / exact.std(), atol=3e-7)


def test_constants_become_zero_and_near_constants_do_not():
    x = np.stack([np.full(100, 0.1), 1.7e9 + np.arange(100) * 1e-3, np.arange(100) * 1e-300], axis=1)
    standardizer = wp.Standardizer().fit(x)
    assert standardizer.var_[0] == 0
    assert standardizer.scale_[0] == 1
    assert not standardizer.transform(x)[:, 0].any()
    assert standardizer.transform(x)[:, 1].std() == pytest.approx(1, rel=1e-6)


def test_nan_is_skipped_and_stays():
    x = DATA.copy()
    x[3, 1] = np.nan
    standardizer = wp.Standardizer().fit(x)
    assert standardizer.mean_[1] == pytest.approx(np.nanmean(x[:, 1]))
    assert np.isnan(standardizer.transform(x)[3, 1])


def test_image_channels():
    x = np.random.default_rng(2).standard_normal((10, 3, 8, 9)) * np.array([1, 2, 3])[:, None, None]
    standardizer = wp.Standardizer().fit(x)
    assert standardizer.mean_.shape == (3,)
    np.testing.assert_allclose(standardizer.transform(x).std(axis=(0, 2, 3)), 1)


def test_save_and_load_is_readable_json_and_exact(tmp_path):
    standardizer = wp.Standardizer(ddof=1).fit(DATA)
    standardizer.save(tmp_path / "s.json")
    loaded = wp.Standardizer.load(tmp_path / "s.json")
    assert (loaded.transform(DATA) == standardizer.transform(DATA)).all()
    assert loaded.n_samples_seen_ == 200
    assert json.loads((tmp_path / "s.json").read_text())["mean"] == standardizer.mean_.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


@pytest.mark.parametrize("content", ["", "[1]", '{"format": "other"}', '{"format": "wellposed.Standardizer", "version": 9}'])
def test_another_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(wp.InputError, match=r"s\.json is not a file that Standardizer\.save wrote"):
        wp.Standardizer.load(path)


def bad(j, value):
    x = DATA.copy()
    x[:, j] = value
    return x


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.Standardizer().transform(DATA), "has not been fitted"),
        (lambda: wp.Standardizer().fit(DATA[:0]), "the data is empty"),
        (lambda: wp.Standardizer(ddof=1).fit(DATA[:1]), "has 1 value, too few for ddof=1"),
        (lambda: wp.Standardizer().fit(bad(2, np.inf)), r"inputs\[:, 2\] contains infinity \(200 times\)"),
        (lambda: wp.Standardizer().fit(bad(2, np.nan)), r"inputs\[:, 2\] holds nothing but NaN"),
        (lambda: wp.Standardizer().fit(DATA).transform(DATA[:, :3]), "X has 3 features, but Standardizer is expecting 5 features as input"),
        (lambda: wp.Standardizer(axis=4).fit(DATA), "axis 4 does not exist"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()
