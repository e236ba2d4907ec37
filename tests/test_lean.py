"""What a check-up of a large model does to need little memory and few steps, and that it changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.findings import Verdict
from wellposed.gradients.directions import Directions
from wellposed.gradients.quick_check import chance
from wellposed.numerics.theta import Layout


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


class Fussy(nn.Module):
    """Raises where its weights have moved far."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3)

    def forward(self, x):
        if self.inner.weight.abs().max() > 5:
            raise RuntimeError("out of range")
        return self.inner(x).tanh()


def problem_of(model, rows=16, optimizer=None):
    x, y = torch.randn(rows, 6), torch.randint(3, (rows,))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y), optimizer=optimizer)


def deep(dropout=0.0):
    return nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3))


def test_a_float64_copy_is_moved_in_place_and_put_back():
    problem = problem_of(deep())
    twin = problem.precise()
    theta = twin.theta()
    before, u = theta.copy(), np.random.default_rng(0).standard_normal(theta.size)
    assert np.array_equal(before, problem.theta())
    for t in (1e-3, -0.5, 2.0):
        assert twin.value_along(theta, u, t) == pytest.approx(twin.value(before + t * u), rel=1e-13)
        assert np.array_equal(theta, before)
    assert np.array_equal(theta, twin.theta())
    assert np.array_equal(before, problem.theta())


def test_a_float64_copy_is_put_back_where_the_loss_raises():
    twin = problem_of(Fussy()).precise()
    theta = twin.theta()
    before = theta.copy()
    with pytest.raises(RuntimeError, match="out of range"):
        twin.value_along(theta, np.ones_like(theta), 10.0)
    assert np.array_equal(theta, before)


class Rewriting(nn.Module):
    """Puts other numbers in the place of its weight, as some constraints do."""

    def __init__(self, how):
        super().__init__()
        self.inner, self.how = nn.Linear(6, 3), how

    def forward(self, x):
        if self.how == "replaced":
            self.inner.weight.data = self.inner.weight.data * 0.5
        elif self.how == "written":
            self.inner.weight.data.mul_(0.5)
        return self.inner(x)


@pytest.mark.parametrize("how", ["replaced", "written"])
def test_a_float64_copy_is_the_same_after_a_forward_pass_that_writes_to_its_weights(how):
    problem = problem_of(Rewriting(how))
    theta = problem.theta()
    with problem.preserved():
        twin = problem.precise()
        own = twin.theta()
        before = own.copy()
        values = [twin.value(own), twin.value_along(own, np.ones_like(own), 0.0), twin.value(own)]
        assert values[0] == values[1] == values[2]
        assert np.array_equal(own, before)
        assert np.array_equal(twin.theta(), before)
    assert np.array_equal(problem.theta(), theta)


def test_a_copy_that_shares_parameters_with_the_user_is_given_no_memory_of_its_own():
    scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    problem = wp.TorchProblem(
        deep(), lambda outputs, targets: scale * nn.functional.cross_entropy(outputs, targets), (x, y)
    )
    twin = problem.precise()
    theta, kept = twin.theta(), scale.data.data_ptr()
    twin.value_along(theta, np.ones_like(theta), 0.1)
    assert scale.data.data_ptr() == kept
    assert scale.item() == 2.0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_several_numbers_of_steps_are_those_of_each_alone(dropout):
    model = deep(dropout)
    problem = problem_of(model, optimizer=torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    theta, state = problem.theta(), torch.get_rng_state()
    reached = []
    for after in problem.trained_at(theta, (1, 3, 8)):
        problem.value(after)  # what is evaluated in between changes nothing
        torch.rand(3)
        reached.append(after)
    torch.set_rng_state(state)
    for number, after in zip((1, 3, 8), reached, strict=True):
        assert np.array_equal(after, problem.trained(theta, number))
    assert np.array_equal(theta, problem.theta())
    assert not problem.optimizer.state
    assert torch.equal(state, torch.get_rng_state())


def test_a_gradient_is_packed_without_a_copy():
    problem = problem_of(deep())
    gradient = problem.gradient(problem.theta())
    packed = problem.layout.pack_known(gradient)
    assert packed is problem.layout.pack_known(gradient)
    assert np.array_equal(packed, problem.layout.pack({name: part.copy() for name, part in gradient.items()}))


def test_what_is_not_one_vector_in_its_places_is_copied():
    layout = Layout({"a": (2, 2), "b": (2,), "c": (2,)})
    whole = np.arange(8.0)
    parts = layout.unpack(whole)
    assert layout.pack_known(parts) is whole
    assert np.array_equal(
        layout.pack_known({**parts, "b": None}), [0, 1, 2, 3, 0, 0, 6, 7]
    )  # the vector holds 4 and 5 there
    assert np.array_equal(layout.pack_known({**parts, "b": parts["c"], "c": parts["b"]}), [0, 1, 2, 3, 6, 7, 4, 5])
    assert np.array_equal(layout.pack_known({**parts, "a": parts["a"].T}), [0, 2, 1, 3, 4, 5, 6, 7])
    whole[4:6] = 0
    assert layout.pack_known({**parts, "b": None}) is whole
    assert np.array_equal(layout.pack_known(dict.fromkeys(parts)), np.zeros(8))


def test_entries_that_are_not_trained_are_not_moved():
    layout = Layout({"a": (3, 2), "b": (2,)})
    random = np.random.default_rng(0)
    mask = np.zeros((3, 2), dtype=bool)
    mask[1] = True
    directions = Directions(layout, random.standard_normal(8), random.standard_normal(8), {"a": mask}, random)
    for u in (
        directions.jointly(("a", "b")),
        directions.random_direction(layout.slices["a"]),
        directions.balanced(("a", "b"))[0],
    ):
        assert not u[2:4].any()
        assert u[[0, 1, 4, 5]].all()
    assert not directions.random_direction(layout.slices["a"])[6:].any()


def test_gradients_of_the_users_are_out_of_reach_and_the_same_after():
    """A loss that writes to them finds none."""
    model = deep()
    x, y = torch.randn(16, 6), torch.randint(3, (16,))
    nn.functional.cross_entropy(model(x), y).backward()
    kept = [(p.grad, p.grad.clone()) for p in model.parameters()]

    def loss(outputs, targets):
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        return nn.functional.cross_entropy(outputs, targets)

    assert wp.check_gradients(wp.TorchProblem(model, loss, (x, y))).ok
    for parameter, (gradient, bits) in zip(model.parameters(), kept, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, bits)


class Partly(nn.Module):
    """`idle` is in the model, and the loss does not depend on it; with `cut` it does, along a way without a gradient."""

    def __init__(self, cut):
        super().__init__()
        self.body, self.idle, self.cut = deep(), nn.Linear(6, 32), cut

    def forward(self, x):
        way = self.idle(x).detach() if self.cut else 0 * self.idle(x).detach()
        return self.body[1:](self.body[0](x) + way)


def test_tensors_without_a_gradient_are_seen_by_a_quick_look_too():
    right, wrong = (
        wp.checkup(problem_of(Partly(cut)), only=lambda rule: rule.startswith("WP5")) for cut in (False, True)
    )
    assert right.ok
    assert right.evaluations < 60
    assert {finding.rule: finding.where for finding in right.findings if finding.found} == {"WP505": "idle.weight"}
    (told,) = (finding for finding in wrong.findings if finding.verdict is Verdict.FAILS)
    assert told.where.startswith("idle")


def test_a_bias_that_batch_normalisation_takes_away_costs_a_quick_look_little():
    reports = [wp.checkup(problem_of(deep()), only=lambda rule: rule.startswith("WP5")) for _ in range(5)]
    assert all(report.ok for report in reports)
    assert np.median([report.evaluations for report in reports]) < 45
    for report in reports:
        assert not [finding for finding in report.findings if finding.verdict is Verdict.UNDECIDED]


class Off(torch.autograd.Function):
    """The identity, with a gradient that is off by a part of it."""

    @staticmethod
    def forward(ctx, x, part):
        ctx.part = part
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * (1 + ctx.part), None


class Zeroed(nn.Module):
    """Residual blocks whose branches start at zero, before a ReLU: each stands at its corner. `part` is the error of one weight's gradient."""

    def __init__(self, part=0.0):
        super().__init__()
        self.part = part
        self.stem = nn.Linear(6, 24)
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.BatchNorm1d(24)) for _ in range(4))
        self.head = nn.Linear(24, 3)
        for branch in self.branches:
            nn.init.zeros_(branch[1].weight)

    def forward(self, x):
        x = self.stem(x).relu()
        for branch in self.branches:
            x = (x + branch(x)).relu()
        weight = Off.apply(self.head.weight, self.part) if self.part else self.head.weight
        return nn.functional.linear(x, weight, self.head.bias)


def test_at_a_corner_a_quick_look_goes_a_little_beside():
    reports = [wp.checkup(problem_of(Zeroed()), only=lambda rule: rule.startswith("WP5")) for _ in range(3)]
    for report in reports:
        assert report.ok
        kink = next(finding for finding in report.findings if finding.rule == "WP502")
        assert (kink.verdict, kink.cause, kink.where) == (Verdict.HOLDS, "kink", "all tensors")
        assert "at a point nearby the gradient agrees" in kink.message
        assert report.evaluations < 120


@pytest.mark.parametrize("model", [lambda part: Zeroed(part), lambda part: nn.Sequential(deep(), Tail(part))])
@pytest.mark.parametrize("part", [0.03, 1.0])
def test_an_error_of_a_few_per_cent_is_seen_by_a_quick_look(model, part):
    for _ in range(3):
        report = wp.checkup(problem_of(model(part)), only=lambda rule: rule.startswith("WP5"))
        assert {finding.rule for finding in report.findings if finding.verdict is Verdict.FAILS} == {"WP501"}


class Tail(nn.Module):
    """The last layer of a network, with one weight's gradient off."""

    def __init__(self, part):
        super().__init__()
        self.part, self.weight = part, nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        return x @ Off.apply(self.weight, self.part)


def test_chances_to_miss_are_those_that_are_told():
    """An error of a few per cent in one tensor, along directions with a bar: missed as often as `chance` says at most, and about as often."""
    random = np.random.default_rng(0)
    for allowed in (0.01, 0.1, 0.5):
        missed = np.mean(np.abs(random.standard_normal(200_000)) <= allowed)
        assert missed <= chance(allowed, 1.0) * 1.02
        assert missed >= chance(allowed, 1.0) * 0.9


class Shared(nn.Linear):
    """A frozen layer that several models share: its copy is itself."""

    def __deepcopy__(self, memo):
        return self


def test_a_layer_that_is_its_own_copy_is_left_as_it_is():
    backbone = Shared(6, 8).requires_grad_(False)
    model = nn.Sequential(backbone, nn.ReLU(), nn.Linear(8, 3))
    kept, memory = backbone.weight.clone(), backbone.weight.data_ptr()
    report = wp.checkup(problem_of(model, optimizer=torch.optim.Adam(model.parameters())), after_steps=5)
    assert report.ok
    assert (backbone.weight.dtype, backbone.weight.data_ptr()) == (torch.float32, memory)
    assert torch.equal(backbone.weight, kept)


def test_a_problem_that_cannot_be_copied_whole_is_not_treated():
    model = nn.Sequential(Shared(6, 8), nn.ReLU(), nn.Linear(8, 3))
    assert problem_of(model).copied() is None
    assert problem_of(deep()).copied() is not None


def test_a_trained_layer_that_is_its_own_copy_is_not_trained():
    model = nn.Sequential(Shared(6, 8), nn.ReLU(), nn.Linear(8, 3))
    kept = model[0].weight.detach().clone()
    assert wp.checkup(problem_of(model, optimizer=torch.optim.Adam(model.parameters())), after_steps=5).ok
    assert torch.equal(model[0].weight, kept)


class Conjugated(nn.Module):
    def __init__(self):
        super().__init__()
        self.re, self.im, self.out = (nn.Parameter(torch.randn(*shape) / 2) for shape in ((6, 4), (6, 4), (4, 3)))

    def forward(self, x):
        return (
            x.to(torch.complex64 if x.dtype is torch.float32 else torch.complex128)
            @ torch.complex(self.re, self.im).conj()
        ).abs() @ self.out


def test_gradients_that_are_conjugates_are_read():
    assert wp.check_gradients(problem_of(Conjugated())).ok
    assert wp.checkup(problem_of(Conjugated()), only=lambda rule: rule == "WP501").ok


def test_a_tensor_of_which_nothing_is_trained_is_passed_over():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing, self.body = nn.Embedding(1, 6, padding_idx=0), deep()

        def forward(self, x):
            return self.body(x + self.nothing(torch.zeros(len(x), dtype=torch.long)))

    assert wp.checkup(problem_of(Padded())).ok


def test_an_optimizer_of_groups_and_steps_alone_will_do():
    class Plain:
        def __init__(self, parameters):
            self.param_groups = [{"params": list(parameters), "lr": 0.01}]

        def step(self, closure):
            closure()
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter -= 0.01 * parameter.grad

    model = deep()
    report = wp.checkup(problem_of(model, optimizer=Plain(model.parameters())))
    assert next(finding for finding in report.findings if finding.rule == "WP402").verdict is Verdict.HOLDS


class Centred(nn.Module):
    """A loss that keeps a running centre of the outputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, outputs, targets):
        loss = nn.functional.cross_entropy(outputs - self.centre, targets)
        self.centre.mul_(0.5).add_(outputs.detach().mean(0), alpha=0.5)
        return loss


def test_what_a_copied_loss_keeps_goes_on_between_steps():
    model, loss = deep(), Centred()
    problem = wp.TorchProblem(
        model, loss, (torch.randn(16, 6), torch.randint(3, (16,))), optimizer=torch.optim.SGD(model.parameters(), 0.1)
    )
    theta = problem.theta()
    _, after = problem.trained_at(theta, (1, 8))
    assert np.array_equal(after, problem.trained(theta, 8))
    assert not loss.centre.any()


class Rowless(torch.autograd.Function):
    """Adding a bias, with a gradient that leaves out its first entry."""

    @staticmethod
    def forward(ctx, x, bias):
        return x + bias

    @staticmethod
    def backward(ctx, g):
        whole = g.sum(0)
        whole[0] = 0.0
        return g, whole


@pytest.mark.parametrize("seed", range(4))
def test_a_missing_entry_is_found_among_corners(seed):
    """Slopes along random directions are coarse here, as corners of ReLUs lie close by: steps of their own size see it."""
    torch.manual_seed(seed)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.weight, self.bias = (
                nn.Linear(6, 64),
                nn.Parameter(torch.randn(64, 64) / 8),
                nn.Parameter(torch.randn(64) / 8),
            )
            self.last = nn.Linear(64, 3)

        def forward(self, x):
            return self.last(Rowless.apply(self.first(x).relu() @ self.weight, self.bias).relu())

    problem = problem_of(Net())
    for report in (wp.checkup(problem, only=lambda rule: rule == "WP501"), wp.check_gradients(problem)):
        wrong = [finding for finding in report.findings if finding.verdict is Verdict.FAILS]
        assert wrong
