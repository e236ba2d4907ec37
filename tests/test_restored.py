"""The promise: a check leaves everything as it was, bit for bit; also when the loss raises half-way."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop, self.head = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout(0.3),
            nn.Linear(4, 3),
        )
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.head(self.drop(torch.relu(self.spectral(self.norm(self.conv(x)).relu().mean(dim=(2, 3))))))


def state(model):
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    grads = {name: (id(p.grad), None if p.grad is None else p.grad.clone()) for name, p in model.named_parameters()}
    return {
        "identities": {name: id(tensor) for name, tensor in tensors.items()},
        "bits": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "grads": grads,
        "modes": [module.training for module in model.modules()],
        "hooks": [
            list(module._forward_hooks.items()) + list(module._backward_hooks.items()) for module in model.modules()
        ],
        "global hooks": (
            len(nn.modules.module._global_forward_hooks),
            len(nn.modules.module._global_forward_pre_hooks),
        ),
        "generators": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()),
    }


def assert_same(before, after):
    for key in ("identities", "modes", "hooks", "global hooks"):
        assert before[key] == after[key], key
    for name, bits in before["bits"].items():
        assert torch.equal(bits, after["bits"][name]), name
    for name, (identity, bits) in before["grads"].items():
        assert identity == after["grads"][name][0], name
        assert bits is None or torch.equal(bits, after["grads"][name][1]), name
    assert before["generators"][:2] == after["generators"][:2]
    assert torch.equal(before["generators"][2], after["generators"][2])


def prepared():
    model = Net()
    x, y = torch.randn(6, 1, 8, 8), torch.randint(3, (6,))
    nn.functional.cross_entropy(model(x), y).backward()
    model.conv.weight.grad = None
    model.norm.eval()
    model.head.register_forward_hook(lambda module, inputs, output: None)
    return model, (x, y)


@pytest.mark.parametrize("verb", [wp.checkup, wp.check_inputs, wp.check_signals, wp.check_weights, wp.check_gradients])
def test_every_verb_restores_everything(verb):
    model, data = prepared()
    before = state(model)
    verb(wp.TorchProblem(model, nn.CrossEntropyLoss(), data))
    assert_same(before, state(model))


@pytest.mark.parametrize("after", [0, 1, 2, 5, 12])
def test_a_loss_that_raises_half_way_restores_everything(after):
    model, data = prepared()
    calls = iter(range(10**6))

    def loss(outputs, targets):
        if next(calls) >= after:
            raise RuntimeError("out of luck")
        return nn.functional.cross_entropy(outputs, targets)

    before = state(model)
    with pytest.raises((RuntimeError, wp.InputError), match="out of luck"):
        wp.checkup(wp.TorchProblem(model, loss, data))
    assert_same(before, state(model))


def test_numpy_parameters_are_never_the_user_s_own():
    params = {"w": np.ones(3)}

    def vandal(p):
        p["w"] *= 5
        return float(p["w"].sum())

    wp.check_gradients(wp.FunctionProblem(vandal, lambda p: {"w": np.full(3, 5.0)}, params))
    assert (params["w"] == 1).all()


def test_initialize_s_dry_run_changes_nothing():
    model, data = prepared()
    before = state(model)
    plan = wp.initialize(model, data, dry_run=True)
    assert_same(before, state(model))
    assert "conv" in str(plan)


def test_a_graph_built_before_the_check_can_still_go_backward():
    model, data = prepared()
    loss = nn.functional.cross_entropy(model(data[0]), data[1])
    wp.check_gradients(wp.TorchProblem(model, nn.CrossEntropyLoss(), data))
    loss.backward()


def test_a_loss_with_statistics_of_its_own_is_restored():
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, outputs, targets):
            return nn.functional.cross_entropy(self.norm(outputs), targets)

    model, data = prepared()
    loss = Loss()
    before = state(loss)
    wp.check_signals(wp.TorchProblem(model, loss, data))
    assert_same(before, state(loss))
