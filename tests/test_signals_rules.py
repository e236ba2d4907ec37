import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import wellposed as wp
from networks import batch, classify, he, mlp


def verdict(report, rule):
    (found,) = [finding for finding in report.findings if finding.rule == rule]
    return found


def scaled(depth, factor, only=None):
    model = he(mlp(depth=depth))
    with torch.no_grad():
        for number, module in enumerate(m for m in model if isinstance(m, nn.Linear)):
            if only is None or number == only:
                module.weight.mul_(factor)
    return model


def test_default_initialisation_of_20_sigmoid_layers_vanishes_from_the_last_layer_back():
    found = verdict(wp.check_signals(classify(mlp(20, activation=nn.Sigmoid))), "WP201")
    assert found.verdict is wp.Verdict.FAILS
    assert found.cause == "activation"
    assert found.where == "38"
    assert "a factor of 0.14" in found.message


def test_weights_a_little_too_large_explode():
    report = wp.check_signals(classify(scaled(20, 2.0)))
    assert verdict(report, "WP202").verdict is wp.Verdict.FAILS
    assert verdict(report, "WP203").verdict is wp.Verdict.FAILS
    assert verdict(report, "WP201").verdict is wp.Verdict.HOLDS


def test_weights_a_little_too_small_vanish_both_ways():
    report = wp.check_signals(classify(scaled(20, 0.5)))
    assert verdict(report, "WP201").verdict is wp.Verdict.FAILS
    assert verdict(report, "WP203").verdict is wp.Verdict.FAILS
    assert verdict(report, "WP201").cause == "gain"


@given(layer=st.integers(2, 6), factor=st.sampled_from([1e-5, 1e5]))
def test_one_scaled_layer_is_named(layer, factor):
    torch.manual_seed(layer)
    report = wp.check_signals(classify(scaled(8, factor, only=layer)))
    rule = "WP201" if factor < 1 else "WP202"
    assert verdict(report, rule).verdict is wp.Verdict.FAILS
    assert verdict(report, rule).where == str(2 * layer)
    assert verdict(report, rule).cause == "layer"


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_a_broken_network_stays_broken_when_the_loss_is_scaled(factor):
    loss = nn.CrossEntropyLoss()
    problem = wp.TorchProblem(scaled(20, 0.5), lambda o, t: factor * loss(o, t), batch())
    assert verdict(wp.check_signals(problem), "WP201").verdict is wp.Verdict.FAILS


def test_the_lecture_1_5_to_the_power_of_l():
    for weight, rule in ((1.5, "WP202"), (0.5, "WP201")):
        model = nn.Sequential(*[nn.Linear(16, 16, bias=False) for _ in range(30)])
        for layer in model:
            layer.weight.data.copy_(weight * torch.eye(16))
        x, _ = batch()
        found = verdict(wp.check_signals(wp.TorchProblem(model, nn.MSELoss(), (x, x))), rule)
        assert found.verdict is wp.Verdict.FAILS
        assert found.evidence[1].value == pytest.approx(weight, rel=1e-3)


def test_infinity_in_the_forward_pass_names_the_layer():
    model = mlp()
    model[2].weight.data *= 1e38
    model[4].weight.data *= 1e38
    found = verdict(wp.check_signals(classify(model)), "WP203")
    assert found.verdict is wp.Verdict.FAILS
    assert found.where == "4"


def test_one_row_and_one_layer_are_undecided_with_a_reason():
    single = verdict(wp.check_signals(classify(nn.Sequential(nn.Linear(16, 4)))), "WP201")
    assert single.verdict is wp.Verdict.NOT_APPLICABLE
    assert "Fewer than two weighted layers" in single.message
    x, y = batch(rows=1)
    assert "one row" in verdict(wp.check_signals(classify(mlp(), (x, y))), "WP203").message


def test_a_detached_first_layer_is_a_vanished_gradient():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(torch.relu(self.second(torch.relu(self.first(x)).detach())))

    found = verdict(wp.check_signals(classify(Cut())), "WP201")
    assert (found.verdict, found.where) == (wp.Verdict.FAILS, "first")


def test_jax_networks_are_traced_too():
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 20)
    params = [{"w": 0.7 * jax.random.normal(key, (16, 16)) / 4} for key in keys]

    def loss(params, x):
        for layer in params:
            x = jax.nn.relu(x @ layer["w"])
        return jnp.mean((x - 1) ** 2)

    found = verdict(wp.check_signals(wp.JaxProblem(loss, params, jax.random.normal(keys[0], (32, 16)))), "WP201")
    assert found.verdict is wp.Verdict.FAILS
