import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import wellposed as wp
from networks import batch, classify, images, mlp, resnet
from test_signals_rules import verdict

FAILS, HOLDS, SUSPECT, UNDECIDED = wp.Verdict.FAILS, wp.Verdict.HOLDS, wp.Verdict.SUSPECT, wp.Verdict.UNDECIDED
NOT_APPLICABLE = wp.Verdict.NOT_APPLICABLE
DRAW = np.random.default_rng(0)
GOOD = DRAW.standard_normal((500, 6))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_standard_data_hold_everywhere(dtype):
    report = wp.check_inputs(GOOD.astype(dtype))
    assert [finding.verdict for finding in report.findings] == [HOLDS] * 4


def test_pixels_divided_by_255_are_no_failure():
    assert wp.check_inputs(DRAW.integers(0, 256, (50, 3, 8, 8)) / 255).ok


def test_raw_pixels_fail_on_scale():
    found = verdict(wp.check_inputs(DRAW.integers(0, 256, (300, 20))), "WP101")
    assert (found.verdict, found.cause, found.where) == (FAILS, "scale", "inputs")
    assert "The inputs have a root mean square of 14" in found.message


@given(unit=st.floats(0.11, 9))
def test_a_mean_far_from_zero_fails_in_any_unit(unit):
    data = unit * (1 + 1e-2 * GOOD)
    found = verdict(wp.check_inputs(data), "WP101")
    assert (found.verdict, found.cause) == (FAILS, "offset" if 0.2 < unit < 5 else found.cause)


@given(scale=st.sampled_from([1e-100, 1e-9, 1.0, 1e9, 1e100]))
def test_unequal_scales_do_not_depend_on_the_unit(scale):
    data = GOOD * np.array([1, 1, 1, 1, 1, 5000.0]) * scale
    found = verdict(wp.check_inputs(data), "WP102")
    assert (found.verdict, found.where) == (FAILS, "inputs[:, 5]")
    assert verdict(wp.check_inputs(GOOD * scale), "WP102").verdict is HOLDS


def test_a_rarely_active_feature_is_no_small_unit():
    data = GOOD.copy()
    data[:, 2] = 0
    data[7, 2] = 1
    assert verdict(wp.check_inputs(data), "WP102").verdict is HOLDS


def test_constant_features_are_suspect_and_constant_inputs_fail():
    data = GOOD.copy()
    data[:, 3] = 1.7e9
    found = verdict(wp.check_inputs(data), "WP103")
    assert (found.verdict, found.where) == (SUSPECT, "inputs[:, 3]")
    found = verdict(wp.check_inputs(np.ones((10, 2))), "WP103")
    assert (found.verdict, found.cause) == (FAILS, "all-constant")


def test_unix_time_is_not_constant():
    time = 1.7e9 + 0.1 * DRAW.standard_normal(100_000)
    assert verdict(wp.check_inputs(np.stack([time, GOOD[:, 0].repeat(200)], axis=1)), "WP103").verdict is HOLDS


@pytest.mark.parametrize(("value", "cause"), [(np.nan, "nan"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_one_bad_number_fails_with_its_place(value, cause):
    data = GOOD.copy()
    data[41, 4] = value
    found = verdict(wp.check_inputs(data), "WP104")
    assert (found.verdict, found.cause, found.where) == (FAILS, cause, "inputs[:, 4]")
    assert "row 41" in found.message


def test_table_columns_are_called_by_name():
    table = pd.DataFrame({"age": GOOD[:, 0], "income": 1e6 * GOOD[:, 1], "height": GOOD[:, 2]})
    assert verdict(wp.check_inputs(table), "WP102").where == "inputs['income']"


def test_a_model_that_normalises_its_inputs_may_have_raw_ones():
    x, y = batch()
    model = nn.Sequential(nn.BatchNorm1d(16), *mlp())
    found = verdict(wp.check_inputs(classify(model, (200 + 50 * x, y))), "WP101")
    assert found.verdict is HOLDS
    assert "normalises its inputs" in found.message
    assert verdict(wp.check_inputs(classify(mlp(), (200 + 50 * x, y))), "WP101").verdict is FAILS


def test_image_channels_are_the_features_of_a_convolutional_network():
    x, y = images()
    x = x * torch.tensor([1.0, 1.0, 3000.0])[:, None, None]
    assert verdict(wp.check_inputs(classify(resnet(), (x, y))), "WP102").where == "inputs[:, 2]"


def test_token_indices_are_not_judged():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(1000, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.embed(x).mean(dim=1))

    problem = classify(Text(), (torch.randint(1000, (16, 5)), torch.randint(4, (16,))))
    assert {finding.verdict for finding in wp.check_inputs(problem).findings} == {NOT_APPLICABLE}
    assert wp.checkup(problem).ok


def test_one_row_is_undecided():
    assert verdict(wp.check_inputs(GOOD[:1]), "WP101").verdict is UNDECIDED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((0, 3)), "the data is empty: its shape is (0, 3)"),
        (np.array([["a", "b"]]), "not numbers"),
        (pd.DataFrame({"age": [1.0, 2.0], "city": ["x", "y"]}), "in column 'city'"),
        ([[1.0, 2.0], [3.0]], "are all rows of one length?"),
        (np.ones((2, 2), dtype=complex), "complex numbers"),
        (None, "the data is None"),
        (3.0, "the data is one number, 3.0"),
    ],
)
def test_data_that_are_no_numbers_get_one_clear_message(data, words):
    with pytest.raises(wp.InputError) as error:
        wp.check_inputs(data)
    assert words in str(error.value)
