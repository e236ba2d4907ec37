"""WP204, WP205, WP206, WP208: dead and saturated units, inputs that collapse, memory over time; planted, and healthy twins."""

import numpy as np
import planted_signals
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from zoo_own import OWN

import wellposed as wp
from networks import batch, classify, he, mlp
from wellposed.numerics.activations import NAMED, flat_beyond


def of(problem, rule):
    (found,) = [finding for finding in wp.check_signals(problem).findings if finding.rule == rule]
    return found


@pytest.mark.parametrize("case", list(planted_signals.cases())[::6], ids=lambda case: case.name)
def test_planted_faults_are_found_and_named(case):
    spoken = [
        f
        for f in wp.check_signals(case.problem).findings
        if f.rule in case.rules and f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
    ]
    assert spoken
    if case.where:
        assert {finding.where for finding in spoken} & set(case.where)


@pytest.mark.parametrize("name", OWN)
def test_nothing_fails_on_known_good_networks(name):
    report = wp.check_signals(OWN[name](0))
    assert not [finding for finding in report.findings if finding.verdict is wp.Verdict.FAILS], str(report)


def test_a_layer_whose_units_are_all_dead_is_told():
    model = he(mlp(depth=4, width=40))
    model[2].bias.data.fill_(-50.0)
    found = of(classify(model), "WP204")
    assert (found.verdict, found.where) == (wp.Verdict.FAILS, "2")
    assert "All 40 units behind `2` are dead" in found.message


def test_half_of_the_units_may_be_off_by_chance():
    assert of(classify(he(mlp(depth=4, width=64)), batch(rows=2)), "WP204").verdict is wp.Verdict.HOLDS


def test_zeros_on_purpose_wake_up_after_a_step():
    model = he(mlp(depth=3, width=64))
    nn.init.zeros_(model[2].weight)
    model[2].bias.data.fill_(1e-3)
    assert of(classify(model), "WP204").verdict is wp.Verdict.HOLDS


@pytest.mark.parametrize(
    ("scale", "verdict"), [(1.0, wp.Verdict.HOLDS), (5.0, wp.Verdict.SUSPECT), (100.0, wp.Verdict.FAILS)]
)
def test_saturation_is_told_by_its_share(scale, verdict):
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
    nn.init.normal_(model[0].weight, 0, scale / 4)
    found = of(classify(model), "WP205")
    assert found.verdict is verdict
    if verdict is not wp.Verdict.HOLDS:
        assert (found.where, found.cause) == ("0", "inputs-too-large")
        assert "root mean square of" in found.message


def test_inputs_that_end_up_alike_are_told():
    model = mlp(depth=12, activation=nn.Sigmoid)
    found = of(classify(model), "WP206")
    assert found.verdict is wp.Verdict.FAILS
    assert "Different inputs give nearly the same at" in found.message


def test_relu_with_he_weights_merges_inputs_slowly_and_is_no_fault():
    assert of(classify(he(mlp(depth=20, width=128))), "WP206").verdict is wp.Verdict.HOLDS


def test_short_memory_and_chaos_are_told_by_name():
    recurrent = planted_signals._Recurrent(nn.RNN, 0.1)
    data = torch.randn(32, 150, planted_signals.FEATURES), torch.arange(32) % 5
    found = of(wp.TorchProblem(recurrent, nn.CrossEntropyLoss(), data), "WP208")
    assert (found.verdict, found.where, found.cause) == (wp.Verdict.FAILS, "body", "forgets")
    assert "the loss reads the last output alone, of 150 steps" in found.message
    wild = planted_signals._Recurrent(nn.RNN, 8.0)
    found = of(wp.TorchProblem(wild, nn.CrossEntropyLoss(), data), "WP208")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "chaotic")


def test_a_loss_on_every_step_needs_no_long_memory():
    assert of(OWN["own gru, every step, 50 steps"](0), "WP208").verdict is wp.Verdict.HOLDS


def test_a_gradient_that_float16_cannot_carry():
    layers = [module for _ in range(3) for module in (nn.Linear(64, 64), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(64, 64)).half()
    x = torch.randn(256, 64).half()
    found = of(wp.TorchProblem(model, lambda out, t: (out - t).float().square().mean().half() * 1e-3, (x, x)), "WP201")
    assert found.verdict is wp.Verdict.FAILS
    assert found.cause == "dtype"
    assert "the smallest number of float16 is 6e-08" in found.message


@pytest.mark.parametrize("name", sorted(NAMED.keys() - {"exponential"}))  # whose steepest place is the end of any grid
def test_flat_sides_are_where_the_slope_is(name):
    low, high = flat_beyond(NAMED[name])
    z = np.linspace(-40, 40, 3001)
    slope = np.abs(np.gradient(NAMED[name](z), z))
    flat = (z < low - 0.1) | (z > high + 0.1)
    assert np.all(slope[flat] < 0.0101 * slope.max())
    inside = slope[(z > low + 0.1) & (z < high - 0.1)]
    assert inside.max() > 0.99 * slope.max()


@given(shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_flat_sides_move_with_their_function(shift, scale):
    low, high = flat_beyond(lambda z: np.tanh(scale * (z - shift)))
    edge = np.arccosh(10.0) / scale  # 1 - tanh^2 = 1/100
    if edge + abs(shift) < 45:
        assert (low, high) == pytest.approx((shift - edge, shift + edge), abs=0.06)
