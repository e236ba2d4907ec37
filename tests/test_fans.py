import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layers import Conv1D, Experts, cases, measured
from torch import nn

import wellposed as wp
from wellposed.numerics.fans import Window, convolution


def fan_of(case):
    layer = case.build()
    with_inputs = case.shown or isinstance(layer, nn.modules.conv._ConvNd)
    return wp.fan(layer, case.inputs() if with_inputs else None).weights[case.weight]


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_weights_of_variance_one_over_fan_in_keep_the_size(case):
    torch.manual_seed(0)
    assert measured(case, fan_of(case).fan_in, draws=16) == pytest.approx(1, abs=0.02)


@given(
    kernel=st.integers(1, 5), stride=st.integers(1, 4), dilation=st.integers(1, 3), before=st.integers(0, 3), behind=st.integers(0, 3),
    size=st.integers(1, 20),
)  # fmt: skip
def test_taps_are_counted_as_one_by_one(kernel, stride, dilation, before, behind, size):
    window = Window(kernel, stride, dilation, before, behind)
    positions = max(window.outputs(size), 0)
    places = [p * stride + t * dilation - before for p in range(positions) for t in range(kernel)]
    assert window.taps(size, positions) == sum(0 <= place < size for place in places)


@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    size=st.integers(5, 12),
    transposed=st.booleans(),
)
def test_as_many_outputs_per_input_as_inputs_per_output(kernel, stride, groups, size, transposed):
    """fan_in N_out = fan_out N_in: both count the same pairs."""
    window = Window(kernel, stride, before=kernel // 2, behind=kernel // 2)
    made = window.outputs_transposed(size) if transposed else window.outputs(size)
    fan = convolution((4, 6), [window], groups, transposed=transposed, size=(size,))
    assert fan.fan_in * 6 * made == pytest.approx(fan.fan_out * 4 * size)


def test_fans_as_they_are_known():
    fan = wp.fan(nn.ConvTranspose2d(64, 32, 4, stride=2, groups=2))
    assert (fan.fan_in, fan.fan_out) == (32 * 16 / 4, 16 * 16)
    assert repr(wp.fan(nn.Linear(3, 5))) == "Fan(fan_in=3, fan_out=5)"
    attention = wp.fan(nn.MultiheadAttention(64, 4))
    assert (2 / (attention.fan_in + attention.fan_out)) ** 0.5 == pytest.approx(
        64**-0.5
    )  # not that of a matrix [192, 64]
    assert set(attention.weights) == {"in_proj_weight", "out_proj.weight"}
    assert wp.fan(Conv1D(12, 4)) == wp.fan(nn.Linear(4, 12))


def test_a_whole_model():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LSTM(8, 5), Experts(3, 4, 6, "linear"))
    with pytest.raises(wp.InputError, match=r"which axes of '3\.weight' are summed over cannot be read off Sequential"):
        wp.fan(model)
    known = wp.fan(model[:3]).weights
    assert set(known) == {"0.weight", "2.weight_ih_l0", "2.weight_hh_l0"}
    assert (known["0.weight"].fan_in, known["2.weight_hh_l0"].fan_in) == (27, 5)


def test_padding_counts_where_inputs_are_shown():
    """Zeros around a side of H leave (3 H - 2) / (3 H) of the taps along it."""
    layer = nn.Conv2d(2, 2, 3, padding=1)
    for side in (4, 8, 16):
        assert wp.fan(layer, torch.zeros(1, 2, side, side)).fan_in == pytest.approx(
            18 * ((3 * side - 2) / (3 * side)) ** 2
        )
    assert wp.fan(layer).fan_in == 18


@pytest.mark.parametrize(
    ("layer", "inputs", "words"),
    [
        (nn.LazyLinear(3), None, "LazyLinear is lazy and has no shape yet"),
        (nn.ReLU(), None, "ReLU has no weights that sum inputs into outputs"),
        ([1, 2], None, "fan takes a torch layer, not a list"),
        (nn.Conv2d(1, 1, 3), torch.zeros(4), r"Conv2d reads a tensor of 4 axes"),
        (
            Experts(2, 3, 3, "bmm"),
            None,
            r"which axes of 'weight' are summed over.*\n\nHint: give what it is called with",
        ),
    ],
)
def test_bad_input_gets_one_clear_message(layer, inputs, words):
    with pytest.raises(wp.InputError, match=words):
        wp.fan(layer, inputs)
