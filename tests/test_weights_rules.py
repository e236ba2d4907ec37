import pytest
import torch
from torch import nn

import wellposed as wp
from networks import HEALTHY, batch, classify, he, mlp
from test_signals_rules import verdict


def test_he_weights_before_relu_hold():
    assert verdict(wp.check_weights(classify(he(mlp(depth=12, width=64)))), "WP301").verdict is wp.Verdict.HOLDS


def test_torch_default_of_a_deep_relu_network_has_the_wrong_variance():
    found = verdict(wp.check_weights(classify(mlp(depth=14, width=64))), "WP301")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "gain")
    assert found.evidence[0].value == pytest.approx(6**-0.5, rel=0.03)


def test_one_layer_of_another_scale_is_named_with_its_factor():
    model = he(mlp(depth=6, width=64))
    model[4].weight.data *= 200
    found = verdict(wp.check_weights(classify(model)), "WP301")
    assert (found.verdict, found.cause, found.where) == (wp.Verdict.FAILS, "layer", "4")
    assert found.evidence[1].value == pytest.approx(200, rel=0.1)


def test_the_scale_before_a_normalisation_is_not_judged():
    layers = []
    for _ in range(6):
        layers += [nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    for module in model:
        if isinstance(module, nn.Linear):
            module.weight.data *= 1e-3
    found = verdict(wp.check_weights(classify(model)), "WP301")
    assert found.verdict is wp.Verdict.UNDECIDED
    assert "set the scale" in found.message


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_weights_everywhere_never_differentiate(value):
    model = mlp()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    found = verdict(wp.check_weights(classify(model)), "WP302")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "constant")
    assert "no step of training will separate them" in found.message


def test_cloned_units_are_suspect():
    model = mlp(depth=2, width=8)
    with torch.no_grad():
        for layer, unit in ((0, 3),):
            model[layer].weight[unit] = model[layer].weight[0]
            model[layer].bias[unit] = model[layer].bias[0]
        model[2].weight[:, 3] = model[2].weight[:, 0]
    found = verdict(wp.check_weights(classify(model)), "WP302")
    assert (found.verdict, found.cause) == (wp.Verdict.SUSPECT, "cloned")
    assert found.message.startswith("2 of the 8 units")


def test_one_constant_layer_between_random_ones_is_told_apart_by_its_gradients():
    model = mlp(activation=nn.Tanh)
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    assert verdict(wp.check_weights(classify(model)), "WP302").verdict is wp.Verdict.HOLDS


@pytest.mark.parametrize("kind", ["zero head", "ResNet, zero gamma"])
def test_deliberate_zeros_are_not_symmetric(kind):
    assert verdict(wp.check_weights(HEALTHY[kind]()), "WP302").verdict is wp.Verdict.HOLDS


def test_logits_far_too_large_fail_and_a_small_head_holds():
    model = he(mlp(width=64))
    assert verdict(wp.check_weights(classify(model)), "WP305").verdict is not wp.Verdict.FAILS
    model[-1].weight.data *= 30
    found = verdict(wp.check_weights(classify(model)), "WP305")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "logits-too-large")


def regression(offset):
    x, _ = batch()
    return wp.TorchProblem(mlp(classes=1), nn.MSELoss(), (x, x[:, :1] + offset))


def test_uncentred_targets_are_named():
    found = verdict(wp.check_weights(regression(300.0)), "WP305")
    assert (found.verdict, found.cause) == (wp.Verdict.FAILS, "targets-not-centred")
    assert verdict(wp.check_weights(regression(0.0)), "WP305").verdict is wp.Verdict.HOLDS


def test_the_loss_rule_sees_the_call_and_not_the_scaled_value():
    loss = nn.CrossEntropyLoss()
    found = verdict(wp.check_weights(wp.TorchProblem(mlp(), lambda o, t: 1e6 * loss(o, t), batch())), "WP305")
    assert found.verdict is wp.Verdict.HOLDS


def test_an_unknown_loss_is_undecided():
    found = verdict(wp.check_weights(wp.TorchProblem(mlp(), lambda o, t: o.square().mean(), batch())), "WP305")
    assert found.verdict is wp.Verdict.UNDECIDED
    assert "No known loss function" in found.message
