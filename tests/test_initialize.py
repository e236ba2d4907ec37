import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import wellposed as wp
from networks import batch, classify, images, mlp, resnet


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softsign])
@pytest.mark.parametrize("shown", [True, False])
def test_a_deep_network_that_failed_holds_afterwards(activation, shown):
    model, data = mlp(depth=16, width=64, activation=activation), batch()
    assert not wp.check_signals(classify(model)).ok
    wp.initialize(model, data if shown else None)
    assert wp.check_signals(classify(model)).ok
    assert wp.check_weights(classify(model)).ok


@pytest.mark.parametrize(
    ("scheme", "deviation"),
    [("he", (2 / 300) ** 0.5), ("lecun", 300**-0.5), ("glorot", (2 / 700) ** 0.5), ("orthogonal", (2 / 300) ** 0.5)],
)
def test_schemes_have_their_deviation(scheme, deviation):
    model = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 4))
    plan = wp.initialize(model, torch.randn(8, 300), scheme=scheme)
    assert plan.rows[0].target == pytest.approx(deviation)
    assert model[0].weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert plan.rows[0].achieved == pytest.approx(deviation, rel=0.02)


def test_orthogonal_rows_are_orthogonal():
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 4))
    wp.initialize(model, scheme="orthogonal")
    gram = (model[0].weight @ model[0].weight.T).detach().numpy()
    np.testing.assert_allclose(gram / gram[0, 0], np.eye(20), atol=1e-5)


@given(seed=st.integers(0, 2**31))
def test_a_layer_s_weights_depend_on_seed_and_name_alone(seed):
    def weights(depth):
        model = mlp(depth=depth)
        wp.initialize(model, seed=seed)
        return model[0].weight.detach().clone()

    assert torch.equal(weights(2), weights(4))
    assert not torch.equal(weights(2), torch.zeros(()))


def test_convolution_fans():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU(), nn.ConvTranspose2d(8, 6, 4, stride=2), nn.ReLU(), nn.Conv2d(6, 2, 1))
    rows = wp.initialize(model, torch.randn(2, 4, 9, 9), scheme="he").rows
    # Along an axis each of 7 places reaches 4 of the 16 outputs.
    assert 2 / rows[0].target ** 2 == pytest.approx(2 * 9)
    assert 2 / rows[1].target ** 2 == pytest.approx(8 * (7 * 4 / 16) ** 2)


def test_what_is_deliberate_is_left_alone_and_listed():
    model = resnet()
    model[0].weight.requires_grad_(False)
    nn.init.zeros_(model[1].conv2.weight)
    frozen = model[0].weight.clone()
    plan = wp.initialize(model, images()[0])
    assert torch.equal(frozen, model[0].weight)
    assert not model[1].conv2.weight.any()
    assert plan.left_alone == {
        "0.weight": "frozen", "0.bias": "as its weight: frozen",
        "1.conv2.weight": "zero on purpose",
    }  # fmt: skip
    assert "left alone: zero on purpose" in str(plan)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: wp.initialize(mlp(), scheme="best"), "there is no scheme 'best'"),
        (lambda: wp.initialize({"w": 1}), "takes a torch.nn.Module, not a dict"),
        (lambda: wp.initialize(nn.Sequential(nn.BatchNorm1d(3))), "no Linear, Conv or other layer with weights was seen"),
    ],
)
def test_bad_input_gets_one_clear_message(call, words):
    with pytest.raises(wp.InputError, match=words):
        call()
