import pytest
import torch
from planted_weights import Residual, cases, flat, healthy
from torch import nn
from weights import ACTIVATIONS, plain

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
    assert found.verdict is wp.Verdict.NOT_APPLICABLE
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
    found = verdict(wp.check_weights(classify(model)), "WP302")
    assert (found.verdict, found.cause) == (
        wp.Verdict.SUSPECT,
        "constant",
    )  # it will learn, but nothing passes it at first
    assert "whatever comes in, the same goes out" in found.message


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside, self.out = nn.GRU(16, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.inside(x[:, None])[0][:, -1])


def test_a_recurrent_layer_of_one_number_fails():
    model = Gated()
    for parameter in model.inside.parameters():
        nn.init.constant_(parameter, 0.05)
    found = verdict(wp.check_weights(classify(model)), "WP302")
    assert (found.verdict, found.where) == (wp.Verdict.FAILS, "inside.weight_ih_l0")


def test_raw_inputs_are_not_held_against_the_first_layer_that_fits_them():
    x, y = (torch.randn(128, 16) * 60 + 128).clamp(0, 255), torch.randint(4, (128,))
    for scale in (1, 1e4, 1e-3):
        model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
        wp.initialize(model, x * scale)
        found = verdict(wp.check_weights(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x * scale, y))), "WP301")
        assert found.verdict is wp.Verdict.HOLDS


def test_rare_classes_are_no_fault_of_the_weights():
    model = nn.Sequential(nn.Linear(16, 20))
    nn.init.zeros_(model[0].weight)
    y = torch.zeros(256, dtype=torch.long)
    y[:12] = torch.arange(12)
    found = verdict(wp.check_weights(wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(256, 16), y))), "WP305")
    assert found.verdict is wp.Verdict.HOLDS


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
    assert found.verdict is wp.Verdict.NOT_APPLICABLE
    assert "No known loss function" in found.message


PLANTED = list(cases(seeds=1))
NAMED_RULE = {  # the rule that a fault of one layer is found by
    "fan_out for fan_in": ("WP303", "fan"), "deviation 2 / n for sqrt(2 / n)": ("WP303", "fan"),
    "a convolution's kernel left out": ("WP303", "fan"), "groups left out": ("WP303", "fan"),
    "transposed: fan on the wrong side": ("WP303", "fan"), "transposed: stride left out": ("WP303", "fan"),
    "one layer forgotten: N(0, 1)": ("WP303", "alone"), "U(0, 1) everywhere, tanh": ("WP302", "alike"),
    "a hidden layer tiled from half of it": ("WP302", "cloned"), "layers that are copies of each other": ("WP302", "copied-layers"),
    "a bias drawn N(0, 100^2)": ("WP304", "large"), "biases of 5 after He weights": ("WP304", "large"),
    "branches not scaled, 24 of them": ("WP306", "all"), "one branch a thousand times too large": ("WP306", "one"),
    "a head of N(0, 1)": ("WP305", "logits-too-large"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "problem", "where", "factor"), PLANTED, ids=[case[0] for case in PLANTED])
def test_planted_faults_are_found_with_their_factor(kind, problem, where, factor):
    report = wp.check_weights(problem)
    found = [finding for finding in report.findings if finding.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)]
    assert found
    if kind in NAMED_RULE:
        rule, cause = NAMED_RULE[kind]
        assert (verdict(report, rule).cause, verdict(report, rule).verdict) in (
            (cause, wp.Verdict.FAILS),
            (cause, wp.Verdict.SUSPECT),
        )
    if factor is not None:
        (measured,) = [
            e.value for finding in found for e in finding.evidence if e.quantity == "variance over that of the rule"
        ]
        assert measured == pytest.approx(factor, rel=0.05)
        assert where in [finding.where for finding in found]


@pytest.mark.parametrize(
    ("name", "problem"), list(healthy(seeds=1)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_same_networks_without_a_fault_are_silent(name, problem):
    assert not [
        f.message for f in wp.check_weights(problem).findings if f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)
    ]


def test_a_miscounted_fan_is_told_with_both_numbers():
    problem = next(problem for kind, problem, *_ in PLANTED if kind == "transposed: fan on the wrong side")
    message = verdict(wp.check_weights(problem), "WP303").message
    assert "The weights of `10` (conv_transpose2d) have 0.2" in message
    assert "the fan was counted on the wrong side, 1024 instead of 256." in message


def test_torch_s_own_default_of_a_transposed_convolution():
    layers = []
    for into, out in ((64, 64), (64, 64), (64, 64), (64, 64)):
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(
        *layers,
        nn.ConvTranspose2d(64, 128, 4, 2),
        nn.ReLU(),
        nn.Conv2d(128, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    x = torch.randn(4, 64, 8, 8)
    found = verdict(wp.check_weights(classify(model, (x, torch.arange(4)))), "WP303")
    assert (found.verdict, found.where) == (wp.Verdict.SUSPECT, "8")
    assert found.evidence[1].value == pytest.approx(1 / 8, rel=0.05)


def test_what_many_layers_share_is_meant():
    model = Residual()
    assert verdict(wp.check_weights(flat(model)), "WP303").verdict is not wp.Verdict.SUSPECT


def test_a_gate_that_starts_open_is_no_drowned_signal():
    model = he(mlp(depth=3))
    nn.init.normal_(model[2].weight, std=1e-6)
    nn.init.ones_(model[2].bias)
    assert verdict(wp.check_weights(classify(model)), "WP304").verdict is wp.Verdict.HOLDS


def test_torch_s_encoder_repeats_its_layers():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.Sequential(
        nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Flatten(), nn.Linear(16 * 5, 4)
    )
    found = verdict(wp.check_weights(classify(model, (torch.randn(8, 5, 16), torch.randint(4, (8,))))), "WP302")
    assert (found.verdict, found.cause) == (wp.Verdict.SUSPECT, "copied-layers")
    assert (
        "start with the same weights (8 layers repeat another's): they were copied, and begin as the same map."
        in found.message
    )


@pytest.mark.parametrize("depth", [12, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_audit_has_nothing_against_what_initialize_made(activation, depth):
    model, (x, y) = plain(ACTIVATIONS[activation], depth), (torch.randn(128, 64), torch.randint(10, (128,)))
    wp.initialize(model, x)
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y))
    for report in (wp.check_weights(problem), wp.check_signals(problem)):
        assert not [f.message for f in report.findings if f.verdict in (wp.Verdict.FAILS, wp.Verdict.SUSPECT)]
