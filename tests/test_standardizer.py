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


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"format": "other"}', '{"format": "wellposed.Standardizer", "version": 9}']
)
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
        (
            lambda: wp.Standardizer().fit(DATA).transform(DATA[:, :3]),
            "X has 3 features, but Standardizer is expecting 5 features as input",
        ),
        (lambda: wp.Standardizer(axis=4).fit(DATA), "axis 4 does not exist"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()


# scikit-learn's contract


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"whiten": "zca"}, {"robust": True}, {"reproducible": True}], ids=str)
def test_scikit_learn_s_own_checks_pass(options):
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(wp.Standardizer(**options), on_fail=None)
    assert len(results) > 40
    assert [result["check_name"] for result in results if result["status"] not in ("passed", "skipped")] == []


def test_in_a_pipeline_with_names_and_containers():
    import pandas as pd
    import polars as pl
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    frame = pd.DataFrame(DATA, columns=list("abcde"), index=np.arange(200) + 7)
    assert make_pipeline(wp.Standardizer(), LinearRegression()).fit(frame, DATA[:, 0]).score(
        frame, DATA[:, 0]
    ) == pytest.approx(1)
    shown = wp.Standardizer().set_output(transform="pandas").fit(frame).transform(frame)
    assert list(shown.columns) == list("abcde")
    assert list(shown.index) == list(frame.index)
    assert wp.Standardizer().set_output(transform="polars").fit_transform(pl.DataFrame(frame)).columns == list("abcde")
    with pytest.raises(wp.InputError, match="feature names should match"):
        wp.Standardizer().fit(frame).transform(frame.rename(columns={"a": "z"}))
    assert repr(wp.Standardizer(ddof=1)) == "Standardizer(ddof=1)"


def test_partial_fit_is_fit_and_a_refused_batch_changes_nothing():
    whole, parts = wp.Standardizer().fit(DATA), wp.Standardizer()
    for part in np.array_split(DATA, 7):
        parts.partial_fit(part)
    np.testing.assert_allclose(parts.scale_, whole.scale_, rtol=1e-14)
    before = parts.state_
    for batch in (DATA[:, :3], bad(1, np.inf), np.array([["a"] * 5])):
        with pytest.raises(wp.InputError):
            parts.partial_fit(batch)
        assert parts.state_ is before
    parts.partial_fit(bad(1, np.nan))
    np.testing.assert_allclose(parts.mean_[1], whole.mean_[1])


def test_what_partial_fit_cannot_know_yet_is_nan_until_it_can():
    parts = wp.Standardizer(ddof=1).partial_fit(np.array([[np.nan, 1.0]]))
    assert np.isnan(parts.mean_[0])
    assert np.isnan(parts.scale_).all()
    parts.partial_fit(np.array([[2.0, 3.0], [6.0, np.nan]]))
    np.testing.assert_allclose(parts.mean_, [4, 2])
    np.testing.assert_allclose(parts.scale_, [np.sqrt(8), np.sqrt(2)])


# numbers


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1e3, 1e6])
def test_float32_is_within_two_units_of_the_float64_result(ratio):
    x = (ratio + np.random.default_rng(0).standard_normal((20_000, 3))).astype(np.float32)
    standardizer = wp.Standardizer().fit(x)
    truth = (x.astype(np.float64) - standardizer.mean_) / standardizer.scale_
    found = standardizer.transform(x)
    assert np.max(np.abs(found - truth) / np.spacing(np.abs(truth).astype(np.float32))) <= 2
    back = standardizer.inverse_transform(found)
    wide = found.astype(np.float64) * standardizer.scale_ + standardizer.mean_
    assert np.max(np.abs(back - wide) / np.spacing(np.abs(wide).astype(np.float32))) <= 2


def test_nanoseconds_since_1970_keep_their_differences():
    x = 1_700_000_000_000_000_000 + np.arange(0, 5000, 7)[:, None]
    z = wp.Standardizer().fit(x).transform(x)[:, 0]
    steps = np.arange(0, 5000, 7)
    np.testing.assert_allclose(z, (steps - steps.mean()) / steps.std(), atol=1e-12)


def test_in_place_and_large_blocks():
    x = np.random.default_rng(0).standard_normal((300_000, 60), dtype=np.float32) * 3 + 1
    standardizer = wp.Standardizer().fit(x)
    expected = ((x.astype(np.float64) - standardizer.mean_) / standardizer.scale_).astype(np.float32)
    result = standardizer.transform(x, out=x)
    assert result is x
    np.testing.assert_allclose(x, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((20, 3, 9, 8), 1), ((20, 9, 8, 3), None), ((50, 4, 5), (1, 2)), ((6, 50, 4), (0, 2)), ((3, 40), 0)],
)
def test_any_axes_there_and_back(shape, axis):
    x = np.random.default_rng(1).standard_normal(shape) * 3 + 2
    standardizer = wp.Standardizer(axis).fit(x)
    z = standardizer.transform(x)
    axes = (
        (1,)
        if shape[1] == 3 and axis is None
        else (len(shape) - 1,)
        if axis is None
        else (axis,)
        if isinstance(axis, int)
        else axis
    )
    others = tuple(k for k in range(len(shape)) if k not in axes)
    np.testing.assert_allclose(z.mean(axis=others), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=others), 1, rtol=1e-12)
    np.testing.assert_allclose(standardizer.inverse_transform(z), x, rtol=1e-12)


def test_whitening_and_back():
    random = np.random.default_rng(0)
    x = random.standard_normal((500, 4)) @ random.standard_normal((4, 4)) * [1, 1e-6, 1e6, 1] + [0, 1, 1e7, -5]
    for kind in ("zca", "pca"):
        whitener = wp.Standardizer(whiten=kind).fit(x)
        z = whitener.transform(x)
        np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(4), atol=1e-8)
        np.testing.assert_allclose(whitener.inverse_transform(z), x, rtol=1e-8)
    doubled = wp.Standardizer(whiten="pca").fit(np.c_[x, x[:, 0]]).transform(np.c_[x, x[:, 0]])
    assert (doubled[:, -1] == 0).all()  # a direction that does not exist


@given(hnp.arrays(np.float64, (23, 2), elements=st.one_of(st.floats(-1e300, 1e300), st.just(np.nan))))
def test_quartiles_are_exact(x):
    x[0] = 1.0
    robust = wp.Standardizer(robust=True).fit(x)
    expected = np.nanquantile(x, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(robust.quartiles_, expected, rtol=1e-14, atol=1e-300)


def test_early_stop_reads_little_and_says_how_sure_it_is():
    x = np.random.default_rng(0).gamma(2.0, 3.0, (200_000, 2))
    covered = []
    for seed in range(30):
        shuffled = np.random.default_rng(seed).permutation(x)
        found = wp.Standardizer(early_stop=0.02).fit(shuffled)
        assert found.n_samples_seen_ < 12_000
        bounds = found.confidence_interval()
        covered += list((bounds["mean"][0] <= x.mean(axis=0)) & (x.mean(axis=0) <= bounds["mean"][1]))
        covered += list((bounds["std"][0] <= x.std(axis=0)) & (x.std(axis=0) <= bounds["std"][1]))
    assert np.mean(covered) > 0.85


def test_the_unit_of_sampling_is_the_image_and_not_the_pixel():
    random = np.random.default_rng(0)
    images = random.standard_normal((4000, 1, 1, 1)) + 0.1 * random.standard_normal((4000, 8, 8, 1))
    found = wp.Standardizer(early_stop=0.05).fit(images)
    error = (found.confidence_interval(0.6827)["mean"][1] - found.mean_)[0]
    assert error == pytest.approx(1 / np.sqrt(found.n_samples_seen_), rel=0.15)


# other frameworks


def test_as_a_torch_module_and_as_a_jax_function():
    import jax
    import torch

    x = (np.random.default_rng(0).standard_normal((50, 3, 6, 5)) * 2 + 1e4).astype(np.float32)
    standardizer = wp.Standardizer().fit(x)
    expected = standardizer.transform(x)
    module = standardizer.as_module()
    np.testing.assert_allclose(module(torch.tensor(x)).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(
        torch.export.export(module, (torch.tensor(x),)).module()(torch.tensor(x)).numpy(), expected, atol=1e-6
    )
    np.testing.assert_allclose(jax.jit(standardizer.as_jax())(x), expected, atol=1e-6)
    assert set(module.state_dict()) == {"mean", "mean_rest", "scale"}
    whitener = wp.Standardizer(whiten="zca").fit(DATA)
    np.testing.assert_allclose(
        whitener.as_module().double()(torch.tensor(DATA)).numpy(), whitener.transform(DATA), atol=1e-3
    )


@pytest.mark.filterwarnings("ignore")
def test_as_onnx(tmp_path):
    import onnxruntime

    x = DATA.astype(np.float32)[:, [0, 1, 4]]
    standardizer = wp.Standardizer().fit(x)
    standardizer.to_onnx(tmp_path / "s.onnx", (4, 3))
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, standardizer.transform(x), atol=1e-6)


def test_folding_into_the_first_layer_is_exact_or_refused_with_a_number():
    import torch

    x = (np.random.default_rng(0).standard_normal((40, 6, 9, 9)) * [[[[2]]]] + 1).astype(np.float32)
    standardizer = wp.Standardizer(axis=1).fit(x)
    raw, scaled = torch.tensor(x), torch.tensor(standardizer.transform(x))
    for options in ({}, {"padding": 1, "padding_mode": "reflect"}, {"groups": 3}, {"stride": 2, "bias": False}):
        layer = torch.nn.Conv2d(6, 6, 3, **options)
        before = layer.weight.clone()
        np.testing.assert_allclose(standardizer.fold_into(layer)(raw).detach(), layer(scaled).detach(), atol=1e-5)
        assert torch.equal(layer.weight, before)
    with pytest.raises(
        wp.InputError,
        match="pads with zeros, which are not the mean of raw inputs: outputs at the border would be off by up to",
    ):
        standardizer.fold_into(torch.nn.Conv2d(6, 6, 3, padding=1))
    far = wp.Standardizer().fit(DATA[:, :1] + 1e4)
    with pytest.raises(wp.InputError, match=r"folding would cost 4\.0 of the about 7 digits of float32"):
        far.fold_into(torch.nn.Linear(1, 2))
    with pytest.raises(wp.InputError, match="the layer takes 3 features, but the statistics are of 1"):
        far.fold_into(torch.nn.Linear(3, 2))
    with pytest.raises(wp.InputError, match="fold into Linear and Conv layers, not into ReLU"):
        far.fold_into(torch.nn.ReLU())


# files


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "s.json"
    wp.Standardizer().fit(DATA).save(path)
    before = path.read_text()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(wp.InputError, match=r"s\.json cannot be written: No space left on device"):
        wp.Standardizer().fit(DATA * 2).save(path)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.Standardizer(whiten="x").fit(DATA), "whiten='x' is unknown"),
        (lambda: wp.Standardizer(infinite="x").fit(DATA), "infinite='x' is unknown"),
        (lambda: wp.Standardizer(early_stop=2).fit(DATA), "early_stop=2 is not a fraction"),
        (lambda: wp.Standardizer(whiten="zca", robust=True).fit(DATA), "whiten and robust exclude each other"),
        (lambda: wp.Standardizer(robust=True).fit(iter([DATA])), "read the data more than once"),
        (lambda: wp.Standardizer().fit(DATA).confidence_interval(), "was not fitted with early_stop"),
        (lambda: wp.Standardizer().fit(DATA).all_gather(), "there is no process group"),
        (lambda: wp.Standardizer().fit(DATA[:, 0]), "Reshape your data"),
        (
            lambda: wp.Standardizer().fit(iter([DATA, DATA[:, :3]])),
            "batch 1 has 3 features, but what came before it has 5",
        ),
        (lambda: wp.Standardizer().fit(iter([DATA, DATA[0]])), "at least 2 dimensions"),
        (lambda: wp.Standardizer().fit(iter([[[1, 2], [3]]])), "batch 0 cannot be read as an array"),
        (lambda: wp.Standardizer().fit(iter([])), "the data is empty"),
        (lambda: wp.Standardizer().fit(iter([{"x": DATA}])), "batch 0 is a mapping with 'x'"),
        (lambda: wp.Standardizer().fit(iter([{"x": DATA}]), key="y"), "batch 0 has no entry 'y'"),
        (
            lambda: wp.Standardizer().fit(DATA).transform(DATA, out=np.zeros(3)),
            r"out must be a writable array of shape \(200, 5\) and dtype float64, not shape \(3,\)",
        ),
        (lambda: wp.Standardizer().set_output(transform="x"), "transform='x' is unknown"),
        (lambda: wp.Standardizer().set_params(x=1), "Standardizer has no parameter 'x'"),
    ],
)
def test_more_bad_input(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()


# what a reviewer broke


@pytest.mark.parametrize("order", ["C", "F"])
def test_strided_outputs_and_inputs(order):
    whole = np.asarray(np.random.default_rng(0).normal([[[10]], [[20]], [[30]]], 1, size=(8, 3, 36, 36)), order=order)
    view = whole[:, :, 2:-2, 2:-2]
    standardizer = wp.Standardizer().fit(view)
    expected, before = standardizer.transform(view), whole.copy()
    out = np.asarray(np.zeros_like(whole), order=order)[:, :, 2:-2, 2:-2]
    np.testing.assert_array_equal(standardizer.transform(view, out=out), expected)
    np.testing.assert_array_equal(whole, before)
    standardizer.transform(view, out=view)
    np.testing.assert_array_equal(view, expected)
    x = np.random.default_rng(0).standard_normal((100, 3))
    moved = wp.Standardizer().fit(x)
    truth = moved.transform(x[:-1])
    np.testing.assert_array_equal(moved.transform(x[:-1], out=x[1:]), truth)  # they overlap


def test_whole_lazy_tables_and_nullable_columns_are_transformed():
    import pandas as pd
    import polars as pl

    x = np.random.default_rng(0).standard_normal((3_000_000, 1))
    lazy = pl.DataFrame({"a": x[:, 0]}).lazy()
    assert wp.Standardizer().fit(lazy).transform(lazy).shape == x.shape
    frame = pd.DataFrame({"a": pd.array([1, None, 4], dtype="Int64"), "b": [1.0, 2, 3]})
    z = wp.Standardizer().fit(frame).transform(frame)
    assert np.isnan(z[1, 0])
    assert z[2, 1] == pytest.approx(np.sqrt(1.5))


def test_64_bit_integers_to_their_ends():
    high = np.array([[2**64 - 1], [2**64 - 3], [2**64 - 7]], dtype=np.uint64)
    far = np.array([[-9 * 10**18], [9 * 10**18], [9 * 10**18]])
    for x in (high, far):
        z = wp.Standardizer().fit(x).transform(x)[:, 0]
        exact = [int(v) for v in x[:, 0]]
        mean = sum(exact) / 3
        deviations = np.array([float(3 * v - sum(exact)) / 3 for v in exact])
        np.testing.assert_allclose(z, deviations / np.sqrt(np.mean(deviations**2)), rtol=1e-12)
        assert np.isfinite(mean)
    weighted = wp.Moments.of(np.array([[2**60], [2**60 + 1]]), weights=[1, 1])
    assert (weighted.std[0], bool(weighted.constant[0])) == (0.5, False)
    assert wp.Moments.of([[1], [2], [4]]).variance(0.5)[0] == pytest.approx(
        wp.Moments.of([[1.0], [2.0], [4.0]]).variance(0.5)[0]
    )


def test_masks_lists_of_batches_and_axis_0():
    masked = np.ma.array([[1.0], [2.0], [999.0]], mask=[[0], [0], [1]])
    assert wp.Standardizer().fit(masked).mean_[0] == 1.5
    images = np.random.default_rng(0).standard_normal((16, 3, 32, 32))
    np.testing.assert_allclose(
        wp.Standardizer(robust=True).fit([images[:10], images[10:]]).mean_,
        wp.Standardizer(robust=True).fit(images).mean_,
    )
    x = np.random.default_rng(0).standard_normal((3, 500))
    assert wp.Standardizer(axis=0).fit(x).mean_.shape == (3,)
    for call in (
        lambda: wp.Standardizer(axis=0, early_stop=0.1).fit(x),
        lambda: wp.Standardizer(axis=0).fit(iter([x, x])),
    ):
        with pytest.raises(wp.InputError, match="axis 0 counts the features, but the data comes in pieces along it"):
            call()


def test_modules_of_integers_and_of_other_dtypes():
    import torch

    x = 10**9 + np.arange(100)[:, None]
    standardizer = wp.Standardizer().fit(x)
    np.testing.assert_allclose(standardizer.as_module()(torch.tensor(x)).numpy(), standardizer.transform(x), atol=1e-6)
    np.testing.assert_allclose(standardizer.as_jax()(x.astype(np.int32)), standardizer.transform(x), atol=1e-6)
    tiny = wp.Standardizer().fit(np.random.default_rng(0).standard_normal((50, 2)) * 1e-50)
    with pytest.raises(wp.InputError, match="the statistics do not fit into float32"):
        tiny.as_module()
    assert torch.isfinite(tiny.as_module(torch.float64)(torch.zeros(3, 2, dtype=torch.float64))).all()
    half = wp.Standardizer().fit(DATA[:, :1]).as_module()(torch.zeros(3, 1, dtype=torch.bfloat16))
    assert half.dtype == torch.bfloat16


def test_saved_statistics_are_json_for_everybody_and_whole(tmp_path):
    import os
    import stat

    path = tmp_path / "s.json"
    wp.Standardizer(ddof=np.int64(1)).partial_fit(np.ones((1, 2))).save(path)
    assert "NaN" not in path.read_text()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    early = wp.Standardizer(early_stop=0.5).fit(DATA)
    early.save(path)
    np.testing.assert_array_equal(
        wp.Standardizer.load(path).confidence_interval()["mean"], early.confidence_interval()["mean"]
    )
    content = json.loads(path.read_text())
    for spoil in ({"parameters": {"other": 1}}, {"mean": None}):
        path.write_text(json.dumps(content | spoil))
        with pytest.raises(wp.InputError, match="is not a file that Standardizer"):
            wp.Standardizer.load(path)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: wp.Standardizer(early_stop=0.5).fit(DATA, sample_weight=np.ones(200)),
            "early_stop reads a sample of the rows, and knows no weights",
        ),
        (lambda: wp.Standardizer(early_stop=0.5).fit(DATA[:, 0]), "Reshape your data"),
        (lambda: wp.Standardizer(axis="1").fit(DATA), "axis='1' is not a whole number"),
        (lambda: wp.Standardizer(axis=(1, 1)).fit(DATA), r"axis=\(1, 1\) names one axis twice"),
        (lambda: wp.Standardizer(ddof="1").fit(DATA), "ddof='1' is no number"),
        (lambda: wp.Standardizer(early_stop="x").fit(DATA), "early_stop='x' is not a fraction"),
        (lambda: wp.Standardizer().fit(DATA, sample_weight=["a"] * 200), "weights must be numbers"),
        (lambda: wp.Moments.of([[1, 2], [3]]), "this is no array"),
        (lambda: wp.Standardizer().fit(iter([DATA, bad(2, np.inf)])), r"contains infinity \(200 times in batch 1\)"),
    ],
)
def test_still_more_bad_input(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()


def test_two_columns_of_one_name():
    import pandas as pd

    with pytest.raises(wp.InputError, match="the table has two columns named 'a'"):
        wp.Standardizer().fit(pd.DataFrame(DATA[:, :2], columns=["a", "a"]))
