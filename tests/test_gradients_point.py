"""Where the check looks, what it costs, and what it says when the point, the loss or the backward pass is odd."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from networks import batch, classify, mlp
from test_signals_rules import verdict

FAILS, HOLDS, SUSPECT, UNDECIDED = wp.Verdict.FAILS, wp.Verdict.HOLDS, wp.Verdict.SUSPECT, wp.Verdict.UNDECIDED


def many_tensors(change=lambda name, gradient: gradient, tensors=40, size=2500):
    draw = np.random.default_rng(0)
    scales = {f"w{i}": 10.0 ** draw.uniform(-3, 3) for i in range(tensors)}
    params = {name: scale * draw.standard_normal(size) for name, scale in scales.items()}

    def value(p):
        return sum(np.tanh(p[name] / scales[name]).sum() for name in params)

    def gradient(p):
        return {name: change(name, 1 / np.cosh(p[name] / scales[name]) ** 2 / scales[name]) for name in params}

    return wp.FunctionProblem(value, gradient, params)


def test_a_healthy_problem_costs_the_same_whatever_its_size():
    small, large = (wp.check_gradients(many_tensors(tensors=tensors)) for tensors in (1, 40))
    assert small.ok
    assert large.ok
    assert large.evaluations <= 40
    assert (
        verdict(large, "WP501").evidence[3].value < 1e-4
    )  # the chance that an error of 1 % in one of 40 tensors was missed


@pytest.mark.parametrize(
    "change", [lambda g: 0 * g, lambda g: 1.001 * g, lambda g: g + 1e-3 * np.linalg.norm(g) * (np.arange(g.size) == 7)]
)
def test_an_error_in_one_small_tensor_among_many_is_found(change):
    report = wp.check_gradients(many_tensors(lambda name, g: change(g) if name == "w17" else g))
    assert [f.where for f in report.findings if f.verdict is FAILS] == ["w17"]


def test_the_check_runs_again_after_some_steps():
    model = nn.Linear(16, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)

    class Late(torch.autograd.Function):
        """Wrong only where the weights have left zero."""

        @staticmethod
        def forward(context, w):
            context.wrong = bool(w.abs().max() > 1e-2)
            return w.clone()

        @staticmethod
        def backward(context, cotangent):
            return cotangent * (2.0 if context.wrong else 1.0)

    x, y = batch()

    def loss(model):
        return nn.functional.cross_entropy(
            nn.functional.linear(x.to(model.weight.dtype), Late.apply(model.weight), model.bias), y
        )

    problem = wp.TorchProblem(model, loss, optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    before = model.weight.detach().clone()
    assert wp.check_gradients(problem).ok
    guilty, heir = (f for f in wp.check_gradients(problem, after_steps=5).findings if f.rule == "WP501")
    assert (guilty.verdict, guilty.where, guilty.cause) == (FAILS, "Late.backward", "scale")
    assert guilty.message.startswith("After 5 steps: The backward pass `Late.backward` is wrong by itself")
    assert (heir.verdict, heir.where) == (FAILS, "weight")
    assert heir.message.endswith("It inherits the error of `Late.backward`.")
    assert torch.equal(model.weight, before)
    assert wp.check_gradients(classify(mlp()), after_steps=3).ok
    with pytest.raises(wp.InputError, match="after_steps must be a whole number of steps, not -1"):
        wp.check_gradients(problem, after_steps=-1)


def quadratic(w, b=1.0):
    return wp.FunctionProblem(lambda p: float((p["w"] ** 2).sum()), lambda p: {"w": 2 * p["w"]}, {"w": w})


def test_a_gradient_that_is_all_zero_tells_nothing():
    found = verdict(wp.check_gradients(quadratic(np.zeros((3, 2)))), "WP508")
    assert (found.verdict, found.cause) == (SUSPECT, "zero")


def test_equal_rows_hide_a_gradient_that_mixes_them_up():
    found = verdict(wp.check_gradients(quadratic(np.ones((3, 2)))), "WP508")
    assert (found.verdict, found.cause, found.where) == (SUSPECT, "symmetric", "w")
    assert verdict(wp.check_gradients(quadratic(np.arange(6.0).reshape(3, 2))), "WP508").verdict is HOLDS


def test_a_saturated_point_is_named():
    def sigmoid(w):
        return 1 / (1 + np.exp(-w))

    problem = wp.FunctionProblem(
        lambda p: float(sigmoid(p["w"]).sum()),
        lambda p: {"w": sigmoid(p["w"]) * sigmoid(-p["w"])},
        {"w": np.array([25.0, -26.0, 27.0])},
    )
    found = verdict(wp.check_gradients(problem), "WP508")
    assert (found.verdict, found.cause) == (SUSPECT, "flat")


def test_parameters_of_the_loss_are_checked_too():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(torch.zeros(1))

        def forward(self, outputs, targets):
            return nn.functional.cross_entropy(outputs, targets) * self.log_scale.exp() - self.log_scale

    problem = wp.TorchProblem(mlp(), Weighted(), batch())
    assert "loss.log_scale" in problem.layout.names
    assert wp.check_gradients(problem).ok


def test_parameters_that_a_loss_closes_over_are_checked_or_named():
    other, hidden = nn.Linear(16, 4), [torch.ones(3, requires_grad=True)]
    model = mlp()
    x, y = batch()

    def loss(model):
        return nn.functional.cross_entropy(model(x) + other(x), y)

    report = wp.check_gradients(wp.TorchProblem(model, loss))
    assert report.ok
    assert {"other.weight", "other.bias"} <= set(wp.TorchProblem(model, loss).layout.names)

    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            return self.layer(x) + secret().sum()

    store = itertools.cycle(hidden)  # whose items nobody can see
    secret = lambda: next(store)  # noqa: E731
    found = verdict(wp.check_gradients(wp.TorchProblem(Hiding(), nn.MSELoss(), (x, torch.zeros(64, 4)))), "WP505")
    assert (found.verdict, found.cause) == (SUSPECT, "out-of-reach")
    assert "a tensor of shape (3,)" in found.message


def test_dropout_is_named():
    model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.Linear(16, 4))
    found = verdict(wp.check_gradients(classify(model)), "WP504")
    assert found.verdict is HOLDS
    assert "torch's generator: Dropout `1`" in found.message


def test_a_random_backward_pass_is_told_from_a_wrong_one():
    noise = iter(np.random.default_rng(0).standard_normal(10**6))
    problem = wp.FunctionProblem(
        lambda p: float(np.sin(p["w"]).sum()),
        lambda p: {"w": np.cos(p["w"]) * (1 + 0.1 * next(noise))},
        {"w": np.arange(1.0, 6.0)},
    )
    report = wp.check_gradients(problem)
    assert report.ok
    assert [f.cause for f in report.findings if f.rule == "WP504"] == ["random-backward"]
    assert verdict(report, "WP501").verdict is UNDECIDED


def test_a_loss_that_raises_beside_the_point_names_the_parameter():
    def value(p):
        if p["w"][0] != 1.0:
            raise ZeroDivisionError("w must be one")
        return float((p["w"] * p["v"]).sum())

    with pytest.raises(
        wp.InputError, match="the loss raised ZeroDivisionError: w must be one whenever 'w' was moved, however little"
    ):
        wp.check_gradients(
            wp.FunctionProblem(value, lambda p: {"w": p["v"], "v": p["w"]}, {"v": np.ones(2), "w": np.ones(2)})
        )


def test_a_hook_on_a_parameter_is_checked_in_float64_too():
    model = mlp()
    weight = next(model.parameters())
    weight.register_hook(lambda g: g + 0.05 * weight.detach())
    found = next(f for f in wp.check_gradients(classify(model)).findings if f.verdict is FAILS)
    assert found.cause == "extra-weight-decay"


def test_code_that_keeps_what_it_computed_first_is_found_beside_the_first_point():
    X = np.random.default_rng(0).standard_normal((12, 4))
    kept = {}

    def gradient(p):
        h = kept.setdefault("h", np.tanh(X @ p["W"]))  # right at the first call alone
        d = 2 * np.tanh(X @ p["W"]) / 12
        return {"W": X.T @ (d * (1 - h**2))}

    W = np.random.default_rng(1).standard_normal((4, 3))
    found = next(
        f
        for f in wp.check_gradients(
            wp.FunctionProblem(lambda p: (np.tanh(X @ p["W"]) ** 2).sum() / 12, gradient, {"W": W})
        ).findings
    )
    assert (found.rule, found.verdict, found.cause) == ("WP501", FAILS, "stale")
    assert found.message.startswith("Right at the first parameters, wrong at others")


def test_one_of_two_uses_of_a_weight_that_is_lost_is_named():
    random = np.random.default_rng(0)
    X, W = random.standard_normal((12, 6)), random.standard_normal((6, 4)) / 2

    def value(p):
        return 0.5 * ((np.tanh(X @ p["W"]) @ p["W"].T - X) ** 2).sum() / 12

    def gradient(p):
        h = np.tanh(X @ p["W"])
        d = (h @ p["W"].T - X) / 12
        return {"W": X.T @ ((d @ p["W"]) * (1 - h**2))}  # the decoder's part, d.T @ h, is lost

    found = next(
        f for f in wp.check_gradients(wp.FunctionProblem(value, gradient, {"W": W})).findings if f.verdict is FAILS
    )
    assert found.cause == "detached"
    assert 'np.tanh(X @ p["W"]) @ p["W"].T' in found.message
