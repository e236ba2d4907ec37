"""WP105: do these statistics belong to this data, and if not, which mistake was made?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

import wellposed as wp

RULE = "WP105"


def photographs(count=400, seed=0):
    """uint8 images [N, 32, 32, 3] whose channels and brightness differ."""
    random = np.random.default_rng(seed)
    base = np.array([120.0, 100.0, 70.0]) + 25 * random.standard_normal((count, 1, 1, 1))
    return np.clip(base + np.array([50.0, 40.0, 30.0]) * random.standard_normal((count, 32, 32, 3)), 0, 255).astype(
        np.uint8
    )


IMAGES = photographs()
MEAN, STD = (getattr(IMAGES.astype(float), way)(axis=(0, 1, 2)) for way in ("mean", "std"))
STDS = IMAGES.astype(float).std(axis=(1, 2)).mean(axis=0)


def judged(data, statistics, **options):
    (finding,) = wp.check_inputs(data, statistics=statistics, **options).findings
    assert finding.rule == RULE
    return finding


@pytest.mark.parametrize(
    ("mean", "std", "cause", "words"),
    [
        (MEAN / 255, STD / 255, "pixel-range", "The statistics are of data divided by 255; this data is not divided."),
        (MEAN, STDS, "mean-of-stds", "The standard deviation given is the mean of those of single entries."),
        (MEAN / 255, STDS / 255, "mean-of-stds", "of single entries, divided by 255"),
        (MEAN[::-1], STD[::-1], "channel-order", "The statistics fit with the channels in the other order."),
        (MEAN, STD**2, "variance-for-std", "The variance of the data was given for the standard deviation."),
        (
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
            "another-data-set",
            "The statistics are those published for ImageNet.",
        ),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], "another-data-set", "published for ImageNet"),
        (MEAN + 70, STD, "drift", "standard deviations away from the one given"),
    ],
)
def test_the_mistake_is_named(mean, std, cause, words):
    finding = judged(IMAGES, (mean, std))
    assert finding.verdict is wp.Verdict.FAILS
    assert finding.cause == cause
    assert words in finding.message


def test_of_bare_constants_only_a_mean_can_fail():
    finding = judged(IMAGES, (MEAN, STD * 3))
    assert (finding.verdict, finding.cause) == (wp.Verdict.SUSPECT, "drift")
    assert "the variance given is 9 times the data's" in finding.message
    x = np.random.default_rng(0).standard_normal((2000, 3))
    assert judged(3 * x, wp.Standardizer().fit(x)).verdict is wp.Verdict.FAILS


HEALTHY = {
    "normal, few": lambda random, n: random.standard_normal((n, 2)),
    "lognormal": lambda random, n: random.lognormal(0, 1, (n, 1)),
    "lognormal, wild": lambda random, n: random.lognormal(0, 3, (n, 2)),
    "mostly zero": lambda random, n: np.where(random.random((n, 4)) < 0.02, random.lognormal(5, 1, (n, 4)), 0),
    "rare binary": lambda random, n: (random.random((n, 3)) < 0.003) * 1.0,
    "t(2)": lambda random, n: random.standard_t(2, (n, 2)),
    "Pareto": lambda random, n: random.pareto(1.5, (n, 2)),
    "much missing": lambda random, n: np.where(random.random((n, 10)) < 0.3, np.nan, random.standard_normal((n, 10))),
}


@pytest.mark.parametrize("kind", HEALTHY)
@pytest.mark.parametrize("sizes", [(20, 5), (200, 50), (4000, 1000)])
@pytest.mark.parametrize("bare", [False, True], ids=["state", "constants"])
def test_no_false_alarm_whatever_the_tails(kind, sizes, bare):
    alarms = 0
    for seed in range(20):
        random = np.random.default_rng((seed, *sizes))
        train, test = HEALTHY[kind](random, sizes[0]), HEALTHY[kind](random, sizes[1])
        fitted = wp.Standardizer().partial_fit(train)
        if not (np.isfinite(fitted.mean_).all() and np.isfinite(test).any(axis=0).all()):
            continue
        statistics = (fitted.mean_, np.sqrt(fitted.var_)) if bare else fitted
        alarms += judged(test, statistics, held_out=not bare).verdict is wp.Verdict.FAILS
    assert alarms == 0


def test_columns_in_another_order():
    import pandas as pd

    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((500, 3)), columns=list("abc"))
    finding = judged(frame[["a", "c", "b"]], wp.Standardizer().fit(frame))
    assert finding.cause == "columns"
    assert (
        "Column 1 is `c`, but the statistics there are of `b`. The columns are the same, in another order."
        in finding.message
    )


def test_images_one_by_one_and_batches_are_recognised():
    fitted = wp.Standardizer().fit(IMAGES)
    for batches in ((image[None] for image in IMAGES[:100]), iter(np.array_split(IMAGES, 40))):
        assert judged(batches, fitted, held_out=True).cause == "saw-test-set"


def test_the_fitted_axis_counts_and_a_robust_fit_holds_for_its_own_data():
    x = np.random.default_rng(0).lognormal(0, 1, (50, 3, 20))
    assert judged(x, wp.Standardizer(axis=1).fit(x)).verdict is wp.Verdict.HOLDS
    assert judged(x[:, :, 0], wp.Standardizer(robust=True).fit(x[:, :, 0])).verdict is wp.Verdict.HOLDS
    assert judged(x[:1, :, 0], wp.Standardizer().fit(x[:, :, 0])).verdict is wp.Verdict.UNDECIDED


@pytest.mark.parametrize("places", [1, 2, 4, 12])
def test_right_statistics_hold_however_they_are_rounded(places):
    assert judged(IMAGES, (MEAN.round(places), STD.round(places))).verdict is wp.Verdict.HOLDS


def test_data_divided_by_255_beside_statistics_of_bytes():
    finding = judged(IMAGES / np.float32(255), (MEAN, STD))
    assert finding.cause == "pixel-range"
    assert "this data is divided by 255" in finding.message


def test_ddof_is_told_where_the_digits_tell_it():
    x = np.random.default_rng(0).standard_normal((50, 3))
    finding = judged(x, (x.mean(axis=0), x.std(axis=0, ddof=1)))
    assert (finding.verdict, finding.cause) == (wp.Verdict.SUSPECT, "ddof")
    assert "n - 1 = 49" in finding.message
    assert judged(x, (x.mean(axis=0), x.std(axis=0))).verdict is wp.Verdict.HOLDS


def test_standardizing_twice():
    x = np.random.default_rng(0).standard_normal((5000, 3)) * 5 + 7
    standardizer = wp.Standardizer().fit(x)
    assert judged(standardizer.transform(x), standardizer).cause == "already-standardized"


@given(st.integers(0, 10_000), st.sampled_from(["normal", "skewed", "images"]))
def test_another_sample_of_the_same_kind_holds(seed, kind):
    random = np.random.default_rng(seed)
    if kind == "images":
        train, test = photographs(200, seed), photographs(60, seed + 20_000)
    else:
        draw = random.standard_normal if kind == "normal" else lambda shape: random.gamma(2.0, 3.0, shape)
        train, test = draw((3000, 4)), draw((500, 4))
    assert judged(test, wp.Standardizer().fit(train), held_out=True).verdict is wp.Verdict.HOLDS


def test_statistics_that_saw_the_test_set():
    digits = load_digits().data
    train, test = digits[:1400], digits[1400:]
    assert judged(test, wp.Standardizer().fit(train), held_out=True).cause != "saw-test-set"
    finding = judged(test, wp.Standardizer().fit(digits), held_out=True)
    assert finding.cause == "saw-test-set"
    assert "The statistics have seen this set, which was held out: of " in finding.message
    assert judged(test, wp.Standardizer().fit(digits)).verdict is wp.Verdict.HOLDS  # nobody said that it was held out


def test_the_fingerprint_survives_order_batches_dtype_and_saving(tmp_path):
    x = np.random.default_rng(0).standard_normal((50_000, 6)).astype(np.float32)
    random = np.random.default_rng(1)
    fitted = wp.Standardizer().fit(iter(np.array_split(random.permutation(x), 17)))
    fitted.save(tmp_path / "s.json")
    asked, met = wp.Standardizer.load(tmp_path / "s.json").state_.fingerprint.seen(x[::5].astype(np.float64))
    assert met == asked > 20
    other = random.standard_normal((10_000, 6))
    asked, met = fitted.state_.fingerprint.seen(other)
    assert asked > 20
    assert met == 0


def test_rows_that_repeat_themselves_prove_nothing():
    x = np.random.default_rng(0).integers(0, 3, (5000, 2))
    assert judged(x[4000:], wp.Standardizer().fit(x[:4000]), held_out=True).verdict is wp.Verdict.HOLDS


def test_missing_values_that_were_not_there():
    x = np.random.default_rng(0).standard_normal((1000, 3))
    standardizer = wp.Standardizer().fit(x)
    x[::2, 1] = np.nan
    finding = judged(x, standardizer)
    assert finding.cause == "missing-values"
    assert "At `inputs[:, 1]` 50 % of the values are missing" in finding.message


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        ((MEAN[:2], STD[:2]), "the data has 3 features, but the statistics are of 2"),
        (wp.Standardizer(), "has not been fitted"),
        (3, r"statistics are a fitted Standardizer, or a pair \(mean, std\)"),
        ((MEAN, STD[:2]), "mean has 3 entries and std 2"),
        ((MEAN, -STD), "no std negative"),
    ],
)
def test_bad_statistics(statistics, words):
    with pytest.raises(wp.InputError, match=words):
        wp.check_inputs(IMAGES, statistics=statistics)
