import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import wellposed as wp
from networks import HEALTHY, batch, classify, mlp
from test_signals_rules import verdict

FAILS, HOLDS, SUSPECT, UNDECIDED = wp.Verdict.FAILS, wp.Verdict.HOLDS, wp.Verdict.SUSPECT, wp.Verdict.UNDECIDED


def quadratic(change=lambda name, gradient: gradient, shapes=None, dtype=float):
    """sum of tanh(w)^2 / 2 + .1 w over all tensors, whose gradient `change` may spoil."""
    draw = np.random.default_rng(0)
    params = {
        name: draw.standard_normal(shape).astype(dtype) for name, shape in (shapes or {"W": (7, 5), "b": (5,)}).items()
    }

    def value(p):
        return sum((0.5 * np.tanh(w) ** 2 + dtype(0.1) * w).sum() for w in p.values())

    def gradient(p):
        return {name: change(name, np.tanh(w) * (1 - np.tanh(w) ** 2) + dtype(0.1)) for name, w in p.items()}

    return wp.FunctionProblem(value, gradient, params)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_right_gradient_holds_in_every_rule(dtype):
    report = wp.check_gradients(quadratic(dtype=dtype))
    assert [(finding.rule, finding.verdict) for finding in report.findings] == [
        (rule, HOLDS) for rule in ("WP501", "WP502", "WP503", "WP504", "WP505", "WP508")
    ]


@given(factor=st.floats(-3, 3).filter(lambda f: abs(f - 1) > 1e-6 and abs(f) > 1e-3))
def test_a_wrong_factor_is_found_and_named(factor):
    report = wp.check_gradients(quadratic(lambda name, g: factor * g if name == "b" else g))
    found = verdict(report, "WP501")
    assert (found.verdict, found.where) == (FAILS, "b")
    assert found.cause == ("sign" if abs(factor + 1) < 1e-3 else "scale")


@given(row=st.integers(0, 6), column=st.integers(0, 4), relative=st.sampled_from([1e-3, 0.1, -1.0]))
def test_one_wrong_entry_is_located(row, column, relative):
    def spoil(name, g):
        if name == "W":
            g[row, column] += relative * np.linalg.norm(g)
        return g

    found = verdict(wp.check_gradients(quadratic(spoil)), "WP501")
    assert found.verdict is FAILS
    assert f"At `W[{row}, {column}]` it claims" in found.message
    assert found.cause == ""


@pytest.mark.parametrize(("coefficient", "cause"), [(0.01, "extra-weight-decay"), (-0.01, "missing-weight-decay")])
def test_weight_decay_is_named_with_its_coefficient(coefficient, cause):
    problem = quadratic()
    right = problem._gradient
    problem._gradient = lambda p: right(p) | {"W": right(p)["W"] + coefficient * p["W"]}
    found = verdict(wp.check_gradients(problem), "WP501")
    assert (found.cause, found.where) == (cause, "W")
    assert "0.01 times the weight itself" in found.message


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, cotangent):
        return 1.01 * cotangent


def test_a_wrong_backward_of_a_torch_function_is_found_upstream_only():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.above = nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.above(torch.tanh(Scaled.apply(self.below(x))))

    failing = [f.where for f in wp.check_gradients(classify(Net())).findings if f.verdict is FAILS]
    assert failing == ["Scaled.backward", "below.weight", "below.bias"]


def test_the_report_says_in_which_dtype_the_check_ran():
    assert "gradient checked in float64" in str(wp.check_gradients(classify(mlp())))


def test_what_runs_in_float32_only_is_checked_there():
    class Only32(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 4)

        def forward(self, x):
            if x.dtype is not torch.float32:
                raise TypeError("a kernel for float32 alone")
            return torch.tanh(self.layer(x))

    report = wp.check_gradients(classify(Only32()))
    assert report.ok
    assert "checked in" not in str(report)
    assert verdict(report, "WP501").evidence[1].how == "differences in float32"


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_is_checked_with_its_mask_held_fixed(p):
    model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(p), nn.Tanh(), nn.Linear(16, 4))
    assert verdict(wp.check_gradients(classify(model)), "WP501").verdict is HOLDS


def noisy(noise):
    return wp.FunctionProblem(
        lambda p: float((p["w"] ** 2).sum() + noise()), lambda p: {"w": 2 * p["w"]}, {"w": np.ones(3)}
    )


def test_a_generator_that_the_loss_closes_over_is_held_fixed_named_and_put_back():
    draw = np.random.default_rng(0)
    before = draw.bit_generator.state
    report = wp.check_gradients(noisy(lambda: draw.normal()))
    assert {finding.verdict for finding in report.findings} == {HOLDS}
    assert "draws random numbers (the generator `draw`)" in verdict(report, "WP504").message
    assert draw.bit_generator.state == before


def test_a_loss_that_stays_random_is_suspect_and_nothing_else_is_decided():
    report = wp.check_gradients(noisy(lambda: np.random.default_rng().normal()))
    assert report.ok
    found = verdict(report, "WP504")
    assert (found.verdict, found.cause) == (SUSPECT, "random")
    assert "two values at the same point" in found.message
    assert {finding.verdict for finding in report.findings if finding.rule != "WP504"} == {UNDECIDED}


def absolute(claimed, at=0.0):
    w = np.array([at, 1.0, -2.0])
    return wp.FunctionProblem(
        lambda p: np.abs(p["w"]).sum() + 0.3 * p["w"][0], lambda p: {"w": claimed(p["w"])}, {"w": w}
    )


def test_a_kink_at_the_point_is_told_where_the_gradient_is_a_subgradient():
    def claimed(w):
        return np.sign(w) + 0.3 * np.array([1, 0, 0])

    found = verdict(wp.check_gradients(absolute(claimed)), "WP502")
    assert (found.verdict, found.cause, found.where) == (HOLDS, "kink", "w")
    assert "at a point nearby the gradient agrees" in found.message
    assert verdict(wp.check_gradients(absolute(claimed, at=0.5)), "WP502").verdict is HOLDS


def test_a_kink_that_no_step_leaves_is_suspect():
    w, v = np.array([0.0, 0.0]), np.array([1.0])
    problem = wp.FunctionProblem(
        lambda p: np.maximum(p["w"], 0.0).sum() + (p["v"] ** 2).sum(),
        lambda p: {"w": (p["w"] > 0) * 1.0, "v": 2 * p["v"]},
        {"w": w, "v": v},
    )
    found = verdict(wp.check_gradients(problem), "WP502")
    assert (found.verdict, found.cause, found.where) == (SUSPECT, "kink", "w")
    assert found.message.endswith("Its gradient is zero: no step leaves the kink.")


def test_a_wrong_gradient_at_a_kink_still_fails():
    report = wp.check_gradients(absolute(lambda w: 2 * np.sign(w) + 0.3 * np.array([1, 0, 0])))
    assert verdict(report, "WP501").verdict is FAILS


def test_a_jump_at_the_point_fails():
    problem = wp.FunctionProblem(
        lambda p: float((p["w"] > 0).sum()) + (p["w"] ** 2).sum(),
        lambda p: {"w": 2 * p["w"]},
        {"w": np.array([0.0, 1.0])},
    )
    found = verdict(wp.check_gradients(problem), "WP502")
    assert (found.verdict, found.cause) == (FAILS, "jump")


def test_a_slope_lost_in_noise_is_undecided_with_the_smallest_visible_error():
    problem = wp.FunctionProblem(
        lambda p: 1e8 + 1e-19 * (p["w"] ** 2).sum() + p["b"].sum(), lambda p: {"w": 2e-19 * p["w"], "b": np.ones(2)},
        {"w": np.ones(3), "b": np.ones(2)},
    )  # fmt: skip
    found = verdict(wp.check_gradients(problem), "WP503")
    assert (found.verdict, found.where) == (UNDECIDED, "w")
    assert "lost in the noise of the loss" in found.message
    assert found.evidence[0].value > 0.01


def test_a_zero_gradient_along_which_the_loss_changes_fails():
    found = verdict(wp.check_gradients(quadratic(lambda name, g: 0 * g if name == "b" else g)), "WP505")
    assert (found.verdict, found.where, found.cause) == (FAILS, "b", "zero")


@pytest.mark.parametrize(("idle", "verdict"), [(30, SUSPECT), (2, HOLDS)])
def test_a_detached_parameter_fails_and_an_unused_one_is_suspect_where_it_costs_something(idle, verdict):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.cut = nn.Linear(16, 4), nn.Parameter(torch.ones(4))
            self.idle, self.little = nn.Parameter(torch.ones(idle)), nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.used(x) * self.cut.detach()

    found = {f.where: (f.verdict, f.cause) for f in wp.check_gradients(classify(Net())).findings if f.rule == "WP505"}
    assert found == {"cut": (FAILS, "detached"), "idle": (verdict, "unused")}


@pytest.mark.parametrize("kind", ["zero head", "ResNet, zero gamma"])
def test_what_a_zero_initialised_layer_shuts_off_is_not_unused(kind):
    assert verdict(wp.check_gradients(HEALTHY[kind]()), "WP505").verdict is HOLDS


def test_jax_right_and_wrong():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, cotangent: (3.03 * x**2 * cotangent,))
    params = {"a": jnp.arange(1.0, 4.0), "b": jnp.ones(2)}
    report = wp.check_gradients(wp.JaxProblem(lambda p: cube(p["a"]).sum() + jnp.sin(p["b"]).sum(), params))
    assert [f.where for f in report.findings if f.verdict is FAILS] == ["cube", "a"]
    assert wp.check_gradients(wp.JaxProblem(lambda p: (p["a"] ** 3).sum() + jnp.sin(p["b"]).sum(), params)).ok


def test_a_loss_that_is_nan_is_undecided():
    x, y = batch()
    report = wp.check_gradients(classify(mlp(), (x * float("nan"), y)))
    assert report.ok
    assert "The gradient of 0.weight" in report.findings[0].message or "The loss is nan" in report.findings[0].message


def test_a_gradient_that_is_nan_where_the_loss_is_finite_fails():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.gate = nn.Linear(16, 4), nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return self.layer(x) / (1 + self.gate.square().sum().sqrt())

    found = verdict(wp.check_gradients(classify(Net())), "WP501")
    assert (found.verdict, found.cause, found.where) == (FAILS, "not-finite", "gate")
    assert "although the loss is" in found.message


def test_a_factor_near_one_is_printed_with_its_digits():
    found = verdict(wp.check_gradients(quadratic(lambda name, g: 1.0001 * g if name == "b" else g)), "WP501")
    assert "It is 1.0001 times what it should be" in found.message


def test_a_backward_pass_that_rounds_to_float32_is_right_for_a_float32_model():
    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, cotangent):
            return cotangent.float().to(cotangent.dtype)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.above = nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.above(torch.tanh(Rounded.apply(self.below(x))))

    assert wp.check_gradients(classify(Net())).ok


class Rounded(nn.Linear):
    """Eighths of the weight, with the weight's own gradient in the place of none where `through`."""

    def __init__(self, through):
        super().__init__(16, 16)
        self.through = through

    def forward(self, x):
        rounded = torch.round(8 * self.weight) / 8
        weight = self.weight + (rounded - self.weight).detach() if self.through else rounded
        return nn.functional.linear(x, weight, self.bias)


@pytest.mark.parametrize("look", [wp.checkup, wp.check_gradients])
def test_a_weight_that_is_rounded_beside_a_bias_that_learns_is_a_staircase(look):
    torch.manual_seed(0)
    for through in (False, True):
        model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), Rounded(through), nn.Tanh(), nn.Linear(16, 4))
        report = look(wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(32, 16), torch.randint(4, (32,)))))
        found = [finding for finding in report.findings if finding.rule == "WP502" and finding.found]
        if through:
            assert not found
        else:
            assert [(finding.verdict, finding.where, finding.cause) for finding in found] == [
                (wp.Verdict.SUSPECT, "2.weight", "staircase")
            ]
            assert "flat over small steps, as its gradient of zero says" in found[0].message


def test_a_weight_that_reads_zeros_is_no_staircase():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.zeros(32, 16), torch.randint(4, (32,)))))
    assert not [finding for finding in report.findings if finding.rule == "WP502" and finding.found]


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(context, x, factor):
        context.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(context, g):
        return -context.factor * g, None


class Adversarial(nn.Module):
    def __init__(self, factor=0.5, then=nn.Identity):
        super().__init__()
        self.body, self.then = nn.Sequential(nn.Linear(6, 12), nn.Tanh()), then()
        self.classes, self.domain, self.factor = nn.Linear(12, 3), nn.Linear(12, 2), factor

    def forward(self, x):
        features = self.then(self.body(x))
        return self.classes(features), self.domain(Reversed.apply(features, self.factor))


def of_both(outputs, targets):
    return sum(nn.functional.cross_entropy(one, other) for one, other in zip(outputs, targets, strict=True))


class Doubled(nn.Module):
    def forward(self, x):
        return Scaled.apply(x)


@pytest.mark.parametrize("verb", [wp.check_gradients, wp.checkup])
@pytest.mark.parametrize("factor", [0.1, 0.5, 1.0])
def test_a_gradient_reversal_is_meant(factor, verb):
    batch = torch.randn(32, 6), (torch.randint(3, (32,)), torch.randint(2, (32,)))
    report = verb(wp.TorchProblem(Adversarial(factor), of_both, batch))
    found = verdict(report, "WP501")
    assert report.ok, str(report)
    assert (found.verdict, found.cause, found.where) == (HOLDS, "reversed", "Reversed.backward")
    assert "turns the gradient round, as a gradient reversal does" in found.message


def test_an_error_before_a_gradient_reversal_is_found():
    batch = torch.randn(32, 6), (torch.randint(3, (32,)), torch.randint(2, (32,)))
    report = wp.check_gradients(wp.TorchProblem(Adversarial(then=Doubled), of_both, batch))
    assert next(f.where for f in report.findings if f.verdict is FAILS) == "Scaled.backward"
