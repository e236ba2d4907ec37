"""The state: accuracy, merging, exactness, axes, JSON."""

import json
from fractions import Fraction
from math import log10
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import wellposed as wp
from wellposed.numerics import accumulate, kernels

NIST = json.loads((Path(__file__).parent / "data/strd_univariate.json").read_text())


def exact(values):
    numbers = [Fraction(float(v)) for v in values]
    mean = sum(numbers) / len(numbers)
    return mean, sum((n - mean) ** 2 for n in numbers) / len(numbers)


def digits(found, truth):
    error = abs(Fraction(float(found)) - truth) / abs(truth)
    return 17.0 if error == 0 else -log10(error)


def merged_at_random(column, draw, count=8, **options):
    cuts = np.sort(draw.integers(0, len(column) + 1, count))
    parts = [wp.Moments.of(part, **options) for part in np.split(column, cuts)]
    draw.shuffle(parts)
    while len(parts) > 1:
        i = int(draw.integers(len(parts) - 1))
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts[0]


@pytest.mark.parametrize("name", NIST)
def test_nist_reference_data_in_random_batches(name):
    column = np.array([float(entry) for entry in NIST[name]["y"]])[:, None]
    mean, variance = exact(column[:, 0])
    draw = np.random.default_rng(0)
    for _ in range(20):
        found = merged_at_random(column, draw, 40)
        assert digits(found.std[0] ** 2, variance) > 15  # the square of a float loses half a digit
        assert digits(found.mean[0], mean) > 15
        assert found.count[0] == len(column)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.integers(0, 40))
def test_merging_is_the_whole(values, cut):
    column = np.array(values)[:, None]
    whole, merged = wp.Moments.of(column), wp.Moments.of(column[:cut]) + wp.Moments.of(column[cut:])
    assert merged.count[0] == whole.count[0]
    assert (merged.min[0], merged.max[0]) == (whole.min[0], whole.max[0])
    scale = np.abs(column).max()
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(merged.std, whole.std, rtol=1e-7, atol=1e-12 * scale)


@given(
    hnp.arrays(st.sampled_from([np.int8, np.uint8, np.int16, np.int64, np.uint64, np.bool_]), (30, 2)),
    st.integers(0, 2**32),
)
def test_integers_are_exact_under_any_partition(rows, seed):
    whole = wp.Moments.of(rows)
    assert merged_at_random(rows, np.random.default_rng(seed)) == whole
    for j in range(2):
        numbers = [int(v) for v in rows[:, j]]
        mean = Fraction(sum(numbers), 30)
        assert whole.mean[j] == float(mean)
        variance = sum((n - mean) ** 2 for n in numbers) / 30
        assert whole.var[j] == float(variance)
        assert bool(whole.constant[j]) == (len(set(numbers)) == 1)


@given(
    hnp.arrays(np.float64, (25, 2), elements=st.floats(allow_nan=False, allow_infinity=False)), st.integers(0, 2**32)
)
def test_reproducible_floats_are_exact_under_any_partition(rows, seed):
    whole = wp.Moments.of(rows, reproducible=True)
    assert merged_at_random(rows, np.random.default_rng(seed), reproducible=True) == whole
    mean, variance = exact(rows[:, 0])
    assert whole.mean[0] == float(mean)
    if variance and 1e-290 < variance < 1e300:
        assert whole.var[0] == float(variance)
    high, low = whole.mean_parts
    assert abs(Fraction(float(high[0])) + Fraction(float(low[0])) - mean) <= abs(mean) * Fraction(1, 2**100) + Fraction(
        1, 2**1074
    )


@given(hnp.arrays(np.float64, (12, 1), elements=st.floats(-1e3, 1e3)), st.integers(1, 11))
def test_what_is_taken_away_was_never_there(rows, cut):
    left = wp.Moments.of(rows) - wp.Moments.of(rows[:cut])
    truth = wp.Moments.of(rows[cut:])
    assert left.count[0] == 12 - cut
    np.testing.assert_allclose(left.mean, truth.mean, atol=1e-10)
    np.testing.assert_allclose(left.std, truth.std, atol=1e-4)  # the root of what rounding leaves of a thousand squared
    assert np.isnan(left.min[0])
    again = wp.Moments.of(rows, reproducible=True) - wp.Moments.of(rows[:cut], reproducible=True)
    np.testing.assert_array_equal(again.std, wp.Moments.of(rows[cut:], reproducible=True).std)


@given(
    hnp.arrays(np.float64, (9, 2), elements=st.floats(-1e3, 1e3)),
    hnp.arrays(np.int64, 9, elements=st.integers(0, 4)).filter(np.any),
)
def test_a_weight_is_how_often_a_row_counts(rows, weights):
    weighted, repeated = wp.Moments.of(rows, weights=weights), wp.Moments.of(np.repeat(rows, weights, axis=0))
    np.testing.assert_array_equal(weighted.count, repeated.count)
    np.testing.assert_allclose(weighted.mean, repeated.mean, atol=1e-12 * 1e3)
    np.testing.assert_allclose(weighted.std, repeated.std, atol=1e-7)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-160, 1e-30, 1.0, 1e30, 1e160, 1e300])
@pytest.mark.parametrize("rows", [50, 60_000])
def test_no_scale_is_too_small_or_too_large(scale, rows):
    steps = np.random.default_rng(0).integers(-1000, 1000, (rows, 2))
    column = steps * scale
    found = wp.Moments.of(column)
    truth = (steps.astype(np.float64)).std(axis=0)
    np.testing.assert_allclose(found.std, truth * scale, rtol=1e-14, atol=0 if scale > 1e-310 else 5e-324)
    assert not found.constant.any()
    assert wp.Moments.of(np.full((rows, 1), 7 * scale)).constant.all()
    half = wp.Moments.of(column[: rows // 2]) + wp.Moments.of(column[rows // 2 :])
    np.testing.assert_allclose(half.std, found.std, rtol=1e-14)


@pytest.mark.parametrize("first", [0.0, 7e-184])
def test_a_constant_block_before_others_of_a_tiny_scale(first):
    rows = np.full((40_000, 4), first)
    rows[-1] = np.nextafter(first, 1) if first else 3e-200
    halves = wp.Moments.of(rows[:20_000]) + wp.Moments.of(rows[20_000:])
    step = rows[-1, 0] - first
    for found in (halves, wp.Moments.of(rows)):
        np.testing.assert_allclose(found.std, step * np.sqrt(39_999) / 40_000, rtol=1e-12)


def test_states_of_very_different_scales_merge():
    small, large = np.array([[1e-300], [3e-300]]), np.array([[1e200], [3e200]])
    both = wp.Moments.of(small) + wp.Moments.of(large)
    assert both.std[0] == pytest.approx(np.std([0, 0, 1, 3]) * 1e200)
    assert (wp.Moments.empty(1) + wp.Moments.of(small)).std[0] == pytest.approx(1e-300)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((700, 90), -1),
        ((90_000, 3), -1),
        ((40, 30, 20, 3), -1),
        ((40, 3, 50, 60), 1),
        ((3, 3, 150, 150), 1),
        ((60, 50, 40), (1, 2)),
        ((60, 50, 40), (0, 2)),
        ((50_000,), -1),
        ((400, 200), None),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int32, np.float16])
def test_any_axes(shape, axis, dtype):
    random = np.random.default_rng(0)
    data = (
        random.integers(0, 200, shape).astype(dtype)
        if np.dtype(dtype).kind in "iu"
        else (random.standard_normal(shape) + 5).astype(dtype)
    )
    axes = () if axis is None else (axis,) if isinstance(axis, int) else axis
    others = tuple(k for k in range(len(shape)) if k not in [a % len(shape) for a in axes]) if len(shape) > 1 else (0,)
    truth = data.astype(np.longdouble)
    for view in (data, np.asfortranarray(data), np.flip(data, others[0])):
        found = wp.Moments.of(view, axis)
        np.testing.assert_allclose(found.mean, truth.mean(axis=others).ravel().astype(float), rtol=1e-14)
        np.testing.assert_allclose(found.std, truth.std(axis=others).ravel().astype(float), rtol=1e-13)
        np.testing.assert_array_equal(found.min, data.min(axis=others).ravel())
        np.testing.assert_array_equal(found.max, data.max(axis=others).ravel())


@pytest.mark.parametrize("spoil", ["outlier first", "NaN", "infinity", "trend", "constant", "huge"])
def test_what_a_quick_pass_would_get_wrong_is_looked_at_again(spoil):
    rows = (np.random.default_rng(0).standard_normal((40_000, 5)) + 1e6).astype(np.float64)
    match spoil:
        case "outlier first":
            rows[0, 2] = 1e17
        case "NaN":
            rows[7, 2] = np.nan
        case "infinity":
            rows[7, 2] = -np.inf
        case "trend":
            rows[:, 2] = np.arange(40_000) ** 3.0
        case "constant":
            rows[:, 2] = 0.1
        case "huge":
            rows[:, 2] *= 1e290
    found = wp.Moments.of(rows)
    finite = np.where(np.isfinite(rows), rows, np.nan)
    unit = 1e290 if spoil == "huge" else 1.0
    finite[:, 2] /= unit
    truth = np.nanstd(finite.astype(np.longdouble), axis=0).astype(float)
    truth[2] = 0 if spoil == "constant" else truth[2] * unit
    np.testing.assert_allclose(found.std, truth, rtol=1e-11)
    assert found.nan_count[2] == (spoil == "NaN")
    assert found.inf_count[2] == (spoil == "infinity")
    assert found.constant.tolist() == [False, False, spoil == "constant", False, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_kernel_does_what_the_plain_one_does(dtype):
    kernel = kernels.compile_kernel()
    assert kernel is not None
    x, shift = np.random.default_rng(0).standard_normal((1003, 70)).astype(dtype), np.full(70, 0.5)
    for one, two in zip(kernel(x, shift), kernels.by_blas(x, shift), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    bytes_ = np.random.default_rng(0).integers(0, 256, (1003, 70), dtype=np.uint8)
    for one, two in zip(kernels.byte_sums(bytes_, much=True), kernels.byte_sums(bytes_, much=False), strict=True):
        np.testing.assert_array_equal(one, two)


def test_blocks_and_threads_change_no_bit(monkeypatch):
    data = np.random.default_rng(0).standard_normal((100_000, 3)) + 1e6
    monkeypatch.setattr(accumulate, "_BLOCK", 1 << 20)
    found = wp.Moments.of(data)
    monkeypatch.setattr(accumulate, "_workers", lambda: 1)
    assert wp.Moments.of(data) == found
    np.testing.assert_allclose(found.std, data.std(axis=0), rtol=1e-9)


def test_nan_and_infinity_are_counted_and_skipped():
    moments = wp.Moments.of(np.array([[1.0, np.nan], [3.0, np.inf], [np.nan, np.nan]]))
    assert moments.nan_count.tolist() == [1, 2]
    assert moments.inf_count.tolist() == [0, 1]
    assert moments.mean[0] == 2
    assert np.isnan(moments.mean[1])


def test_an_all_nan_batch_poisons_nothing():
    rows = np.array([[1.0], [3.0]])
    total = wp.Moments.of(np.full((5, 1), np.nan)) + wp.Moments.of(rows) + wp.Moments.of(np.full((5, 1), np.nan))
    assert (total.mean[0], total.std[0], total.nan_count[0]) == (2, 1, 10)


@pytest.mark.parametrize(
    "rows",
    [np.array([[1, 2], [3, 9]]), np.array([[0.1, 1e-310], [0.3, np.nan]]), np.array([[1e300, 1.0], [2e300, 5.0]])],
)
@pytest.mark.parametrize("reproducible", [False, True])
def test_json_is_readable_and_exact(rows, reproducible):
    found = wp.Moments.of(rows, reproducible=reproducible)
    text = found.to_json()
    assert wp.Moments.from_json(text) == found
    plain = json.loads(text)
    assert plain["mean"] == [v if v == v else None for v in found.mean]
    assert "NaN" not in text
    assert (wp.Moments.from_json(text) + found).count.tolist() == (2 * found.count).tolist()


def test_json_is_small():
    assert len(wp.Moments.of(np.random.default_rng(0).standard_normal((1000, 100))).to_json()) < 100 * 200


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.Moments.of(["a"]), "moments are of real numbers, not of"),
        (lambda: wp.Moments.of(np.zeros((3, 2)), 5), "axis 5 does not exist in data of 2 dimensions"),
        (lambda: wp.Moments.of(np.zeros((3, 2)), weights=[1, 2]), r"weights have shape \(2,\), but there are 3 rows"),
        (lambda: wp.Moments.of(np.zeros((2, 2)), weights=[1, -2]), "weights must be finite and not negative"),
        (lambda: wp.Moments.of(np.zeros((2, 2)), weights=[0, 0]), "all weights are zero"),
        (
            lambda: wp.Moments.of(np.zeros((2, 2))) + wp.Moments.of(np.zeros((2, 3))),
            "moments of 2 features cannot be combined with those of 3",
        ),
        (
            lambda: wp.Moments.of(np.zeros((2, 2))) - wp.Moments.of(np.zeros((3, 2))),
            "the second state is not part of the first",
        ),
        (lambda: wp.Moments.from_json("[]"), "this is no JSON that Moments.to_json wrote"),
        (lambda: wp.Moments.from_json("{"), "this is no JSON that Moments.to_json wrote"),
        (
            lambda: wp.Moments.from_json('{"format": "wellposed.Moments", "version": 1}'),
            "this is no JSON that Moments.to_json wrote",
        ),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()
