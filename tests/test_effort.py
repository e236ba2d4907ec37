"""A quick check-up stays quick when something is wrong: what is proven needs no measurement, what is not is said."""

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed import Verdict
from wellposed.gradients.effort import QUICK, USUAL, Budget
from wellposed.gradients.nearest_wrong import find_nearest_wrong
from wellposed.gradients.prober import Prober


class Scaled(torch.autograd.Function):
    """x * w, the gradient of x 5 % too large."""

    @staticmethod
    def forward(context, x, w):
        context.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(context, g):
        x, w = context.saved_tensors
        return 1.05 * g * w, (g * x).sum(0)


class SetUpApart(torch.autograd.Function):
    """The same, with a context that is set up by itself."""

    @staticmethod
    def forward(x, w):
        return x * w

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)

    backward = Scaled.backward


class ByNumPy(torch.autograd.Function):
    """The same, by a way that autograd cannot follow."""

    @staticmethod
    def forward(context, x, w):
        context.save_for_backward(x, w)
        return torch.from_numpy(x.detach().numpy() * w.detach().numpy())

    backward = Scaled.backward


class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.linear, self.weight, self.function = nn.Linear(16, 16), nn.Parameter(torch.ones(16)), function

    def forward(self, x):
        return torch.tanh(self.function.apply(self.linear(x), self.weight))


def problem_of(model, rows=16, size=16):
    batch = (torch.randn(rows, size), torch.randint(3, (rows,)))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)


def gradients(report):
    return [finding for finding in report.findings if finding.rule == "WP501" and finding.found]


@pytest.mark.parametrize("function", [Scaled, SetUpApart])
@pytest.mark.parametrize("look", [wp.checkup, wp.check_gradients])
def test_a_wrong_backward_pass_is_proven_by_mending_it(function, look):
    torch.manual_seed(0)
    model = nn.Sequential(*(Layer(function) for _ in range(3)), nn.Linear(16, 3))
    report = look(problem_of(model))
    found = gradients(report)
    roots = [finding for finding in found if not finding.follows]
    assert {finding.where for finding in roots} == {f"{function.__name__}.backward"}
    assert f"With `{function.__name__}.backward`" in roots[0].message
    assert "every gradient agrees with the loss: nothing else is wrong." in roots[0].message
    assert {finding.where for finding in found if finding.follows} == {
        "0.linear.weight",
        "0.linear.bias",
        "0.weight",
        "1.linear.weight",
        "1.linear.bias",
        "1.weight",
        "2.linear.weight",
        "2.linear.bias",
    }
    assert report.evaluations < 100


def test_the_functions_are_put_back():
    torch.manual_seed(0)
    own = (Scaled.forward, Scaled.backward)
    problem = problem_of(nn.Sequential(Layer(Scaled), nn.Linear(16, 3)))
    before = problem.gradient(problem.theta())
    wp.checkup(problem)
    assert (Scaled.forward, Scaled.backward) == own
    after = problem.gradient(problem.theta())
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_what_autograd_cannot_follow_is_found_all_the_same():
    torch.manual_seed(0)
    report = wp.checkup(problem_of(nn.Sequential(Layer(ByNumPy), nn.Linear(16, 3))))
    roots = [finding for finding in gradients(report) if not finding.follows]
    assert [finding.where for finding in roots] == ["ByNumPy.backward"]
    assert "nothing else is wrong" not in roots[0].message


def test_another_error_beside_a_wrong_function_is_not_explained_by_it():
    torch.manual_seed(0)
    model = nn.Sequential(Layer(Scaled), nn.Linear(16, 3))
    model[1].weight.register_hook(lambda g: 2 * g)
    found = gradients(wp.checkup(problem_of(model)))
    assert {"Scaled.backward", "1.weight"} <= {finding.where for finding in found}
    assert not any("nothing else is wrong" in finding.message for finding in found)


def large(wrong, factor=1.05, layers=12):
    """So many parameters that the budget is tight; the gradient of one weight is `factor` times the right one."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(192, 192), nn.Tanh()) for _ in range(layers)), nn.Linear(192, 3))
    if wrong is not None:
        model[wrong][0].weight.register_hook(lambda g: factor * g)
    return problem_of(model, size=192)


@pytest.mark.parametrize("wrong", [0, 5, 11])
def test_of_many_tensors_the_wrong_one_is_found_within_the_budget(wrong):
    problem = large(wrong)
    assert QUICK.budget_of(problem.layout.size).tight
    report = wp.checkup(problem, only=lambda rule: rule.startswith("WP5"))
    (found,) = gradients(report)
    assert (found.verdict, found.where, found.cause) == (Verdict.FAILS, f"{wrong}.0.weight", "scale")
    assert "the other 25 tensors were not looked at one by one" in found.message
    assert report.evaluations < 200


def test_a_healthy_large_model_is_not_suspected():
    assert not gradients(wp.checkup(large(None), only=lambda rule: rule.startswith("WP5")))


@pytest.mark.parametrize("wrong", range(6))
def test_halving_finds_the_last_wrong_tensor(wrong):
    random = np.random.default_rng(wrong)
    names = [f"w{k}" for k in range(6)]
    params = {name: random.standard_normal(5) for name in names}

    def value(p):
        return float(np.tanh(sum(p[name] @ np.sin(params[name] + k) for k, name in enumerate(names))))

    def slope(p):
        inner = sum(p[name] @ np.sin(params[name] + k) for k, name in enumerate(names))
        return {name: (1 - np.tanh(inner) ** 2) * np.sin(params[name] + k) for k, name in enumerate(names)}

    problem = wp.FunctionProblem(value, slope, params)
    theta = problem.theta()
    right = problem.layout.pack_known(problem.gradient(theta))
    claim = right.copy()
    for name in names[: wrong + 1]:  # what comes before inherits the error
        claim[problem.layout.slices[name]] *= 1.1
    assert find_nearest_wrong(Prober(problem, theta, claim), names) == names[wrong]
    assert find_nearest_wrong(Prober(problem, theta, right), names) == ""


def test_a_budget_is_kept_only_where_that_is_asked_for():
    budget = Budget(2)
    budget.take()
    budget.take()
    assert budget.spent
    budget.demand()
    reached = []
    with budget.kept():
        budget.demand()
        reached.append("beyond")
    assert not reached
    budget.demand()  # beyond it, as before
    assert not USUAL.budget_of(10**9).tight


def test_a_rate_that_is_too_large_is_tried_smaller_until_one_serves():
    """8 steps as they are, and 32 at a tenth of the rate: 40 in all, where the loss runs away."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    taken = []

    class Counting(torch.optim.SGD):
        def step(self, *arguments):
            taken.append(1)
            return super().step(*arguments)

    x = torch.randn(64, 8)
    optimizer = Counting(model.parameters(), 3.0)
    problem = wp.TorchProblem(model, nn.MSELoss(), (x, x.sum(1, keepdim=True)), optimizer=optimizer)
    report = wp.check_objective(problem)
    (found,) = [finding for finding in report.findings if finding.rule == "WP402"]
    assert (found.verdict, found.cause) == (Verdict.FAILS, "too-large")
    assert len(taken) <= 8 + 32 + 32


class InPlace(torch.autograd.Function):
    """A leaky ReLU written over what comes in; its slope is wrong."""

    @staticmethod
    def forward(context, x):
        context.mark_dirty(x)
        context.save_for_backward(x > 0)
        return x.mul_(torch.where(x > 0, 1.0, 0.1))

    @staticmethod
    def backward(context, g):
        (positive,) = context.saved_tensors
        return torch.where(positive, g, 0.3 * g)


class InPlaceLayer(nn.Linear):
    def forward(self, x):
        return InPlace.apply(super().forward(x) * 1.0)


def test_a_function_that_does_not_run_by_itself_is_left_to_the_tensors():
    torch.manual_seed(0)
    found = gradients(wp.checkup(problem_of(nn.Sequential(InPlaceLayer(16, 16), nn.Linear(16, 3)))))
    assert {"0.weight"} <= {finding.where for finding in found}


def test_what_lies_behind_a_wrong_function_does_not_inherit_from_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), Layer(Scaled), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    model[4].weight.register_hook(lambda g: g / 2)
    found = {finding.where: finding for finding in gradients(wp.checkup(problem_of(model)))}
    assert (found["4.weight"].cause, found["4.weight"].follows) == ("scale", "")
    assert found["1.linear.weight"].follows == "WP501"
    assert "inherits the error of `Scaled.backward`" in found["1.linear.weight"].message


def test_a_gradient_of_zero_beside_another_error_is_no_staircase():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    model[2].weight.register_hook(lambda g: 0 * g)
    model[4].weight.register_hook(lambda g: g / 2)
    report = wp.checkup(problem_of(model))
    zero = next(finding for finding in report.findings if finding.rule == "WP505" and finding.found)
    assert (zero.verdict, zero.where) == (Verdict.FAILS, "2.weight")
    assert not [finding for finding in report.findings if finding.rule == "WP502" and finding.found]


def test_wrong_tensors_that_are_not_told_of_one_by_one_are_named():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(5)), nn.Linear(16, 3))
    for k, block in enumerate(model[:5]):
        block[0].weight.register_hook(lambda g, k=k: (1.1 + k / 10) * g)
    found = gradients(wp.checkup(problem_of(model)))
    assert {finding.where for finding in found} == {"2.0.weight", "3.0.weight", "4.0.weight"}
    told = " ".join(finding.message for finding in found)
    assert "2 more disagree with the loss (`0.0.weight`, `1.0.weight`)" in told
