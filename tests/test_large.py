"""Models of so many parameters that a vector of them counts: points without vectors, float64 without a copy."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import wellposed as wp
from networks import Off
from wellposed.backends.torch import evaluation, variants
from wellposed.backends.torch.coordinates import TorchCoordinates
from wellposed.backends.torch.lifting import Lifting
from wellposed.backends.torch.tensors import Tensors
from wellposed.backends.torch.weight import TensorWeight
from wellposed.numerics.theta import MANY, Layout, descend, move_by_its_size, moves, norm, scale
from wellposed.numerics.weight import Weight

FAILS = wp.Verdict.FAILS


@pytest.fixture
def large(monkeypatch):
    """Every model is taken for a large one, whose single tensors are not."""
    monkeypatch.setattr(evaluation, "MANY", 0)
    monkeypatch.setattr(variants, "MANY", 10**9)


class Net(nn.Module):
    """With a table that is looked up and read once more, a normalisation, dropout and attribute access of weights."""

    def __init__(self, words=50, size=12):
        super().__init__()
        self.words, self.norm, self.drop = nn.Embedding(words, size), nn.BatchNorm1d(size), nn.Dropout(0.2)
        self.one, self.two = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, i):
        x = self.norm(self.words(i).mean(1))
        h = F.silu(x @ self.one.weight.T + self.one.bias)
        return (x + self.drop(self.two(h))) @ self.words.weight.mT


def posed(model=None, rows=16, optimizer=None):
    torch.manual_seed(0)
    model = model or Net()
    i = torch.randint(50, (rows, 5))
    made = torch.optim.AdamW(model.parameters(), 1e-3) if optimizer is None else optimizer(model)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (i, i[:, 0]), optimizer=made)


def as_vectors(problem):
    layout = problem.layout
    gradient = problem.gradient(problem.theta())
    return layout, problem.theta(), layout.pack_known(gradient), gradient


def test_points_are_those_of_vectors(large):
    problem = posed()
    with problem.preserved():
        here = problem.here()
        layout, theta, slope, gradient = as_vectors(problem)
        assert isinstance(here, Tensors)
        assert isinstance(gradient, Tensors)
        assert norm(here) == pytest.approx(np.linalg.norm(theta))
        assert norm(gradient) == pytest.approx(np.linalg.norm(slope))
        dense = {name: np.asarray(gradient[name]) for name in layout.names}
        for one, other in (
            (descend(layout, here, gradient), descend(layout, theta, dense)),
            (scale(layout, here, ["two.weight"], 0.1), scale(layout, theta, ["two.weight"], 0.1)),
        ):
            np.testing.assert_allclose(layout.pack(layout.unpack(one)), other, rtol=1e-6, atol=1e-7)
            stored = problem.stored(other)
            assert problem.value(one) == pytest.approx(problem.value(stored), rel=1e-6)
        after = move_by_its_size(layout, here, ["two.weight"])
        moved = moves(layout, here, after)
        assert moved["two.weight"][1] == pytest.approx(moved["two.weight"][0], rel=0.2)
        assert moved["one.weight"][1] == 0
        assert moves(layout, theta, layout.pack(layout.unpack(after))) == pytest.approx(
            {name: pytest.approx(pair, rel=1e-5, abs=1e-12) for name, pair in moved.items()}
        )


def test_a_point_without_a_gradient_stays():
    one = Tensors({"a": torch.ones(2), "b": torch.ones(3)})
    gradient = Tensors({"a": torch.ones(2), "b": None})
    assert gradient.missing == ["b"]
    after = one.plus(gradient, -1.0)
    assert after["a"].tolist() == [0, 0]
    assert after.tensors["b"] is one.tensors["b"]
    assert not Tensors({"a": torch.tensor([1.0, torch.nan])}).finite


@pytest.mark.parametrize(
    "optimizer",
    [lambda m: torch.optim.AdamW(m.parameters(), 1e-2), lambda m: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9)],
)
def test_steps_end_where_those_of_vectors_end(large, optimizer):
    problem = posed(optimizer=optimizer)
    with problem.preserved():
        far = [problem.layout.pack(problem.layout.unpack(at)) for at in problem.trained_at(problem.here(), (1, 5))]
        near = list(problem.trained_at(problem.theta(), (1, 5)))
    for one, other in zip(far, near, strict=True):
        np.testing.assert_array_equal(one, other)


def test_in_float64_without_a_copy_the_loss_is_that_of_a_copy(monkeypatch):
    problem = posed(rows=8)
    copy = problem.precise()
    value, gradient = copy.value(copy.theta()), copy.gradient(copy.theta())
    monkeypatch.setattr(evaluation, "MANY", 0)
    with problem.preserved():
        lifted = problem.precise()
        assert lifted.dtype == "float64"
        assert lifted is not problem
        assert lifted.value(lifted.here()) == pytest.approx(value, rel=1e-14)
        mine = lifted.gradient(lifted.here())
        for name, part in gradient.items():
            np.testing.assert_allclose(mine[name], part, rtol=2e-6, atol=1e-9)


def test_a_look_along_coordinates_sees_no_rounding_of_the_parameters(large):
    problem = posed()
    with problem.preserved():
        precise = problem.precise()
        reduced = precise.reduced(precise.here())
        s = reduced.theta()
        gradient = reduced.layout.pack_known(reduced.gradient(s))
        assert reduced.layout.size == 8 * len(reduced.layout.names)
        random = np.random.default_rng(0)
        for _ in range(3):
            u, h = random.standard_normal(s.size), 1e-4
            measured = (reduced.value(s + h * u) - reduced.value(s - h * u)) / (2 * h)
            assert measured == pytest.approx(gradient @ u, rel=1e-5, abs=1e-6 * np.linalg.norm(gradient))


def test_moved_as_they_are_read_or_in_memory_is_the_same_point(large):
    problem = posed()
    with problem.preserved():
        precise = problem.precise()
        coordinates = TorchCoordinates(precise.here(), precise.untrained())
        s = 1 + 0.1 * np.random.default_rng(1).standard_normal(coordinates.layout.size)
        point = coordinates.moved(s)
        assert precise.value(point) == pytest.approx(precise.value(point.made()), rel=1e-6)
        assert coordinates.moved(np.ones_like(s)) is coordinates.at


def test_what_is_not_trained_is_not_moved(large):
    model = nn.Sequential(nn.Embedding(20, 4, padding_idx=3), nn.Flatten(), nn.Linear(8, 3))
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randint(20, (12, 2)), torch.randint(3, (12,))))
    coordinates = TorchCoordinates(problem.here(), problem.untrained())
    moved = coordinates.moved(np.full(coordinates.layout.size, 2.0)).made()
    assert np.array_equal(moved["0.weight"][3], model[0].weight[3].detach())
    assert (moved["0.weight"][4] != model[0].weight[4].detach().numpy()).all()


def test_parameters_of_float64_are_not_written_to(large):
    scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    model, i = Net(), torch.randint(50, (16, 5))
    problem = wp.TorchProblem(model, lambda out, wanted: scale * F.cross_entropy(out, wanted), (i, i[:, 0]))
    before = [p.detach().clone() for p in (*model.parameters(), scale)]
    report = wp.checkup(problem)
    assert not [f for f in report.findings if f.rule == "WP501" and f.verdict is FAILS]
    for parameter, bits in zip((*model.parameters(), scale), before, strict=True):
        assert torch.equal(parameter, bits)


def test_a_graph_in_float64_holds_no_parameters_and_is_let_go_of():
    weight = nn.Parameter(torch.randn(64, 64))
    x = torch.randn(8, 64, dtype=torch.float64)
    with Lifting({"weight": weight}) as lifting:
        made = torch.softmax(x @ weight, -1)  # which keeps its own output
        loss = made.square().sum()
        assert not lifting._lifted  # nobody holds the numbers in float64
        torch.autograd.grad(loss, weight)
    gone = weakref.ref(made)
    gc.disable()
    try:
        del made, loss
        assert gone() is None
    finally:
        gc.enable()


def test_an_edit_of_what_the_backward_pass_needs_raises_as_it_does_else():
    weight = nn.Parameter(torch.randn(4, 4))
    with Lifting({"weight": weight}):
        y = (torch.ones(2, 4, dtype=torch.float64) @ weight).exp()
        z = y * 2
        y.detach().mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad((z * y).sum(), weight)


class ByItsOwnWay(nn.Module):
    """A forward pass that reads its weight where nobody sees it."""

    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(50, 6), nn.Linear(6, 50)
        self.seen = self.out.weight.detach().numpy()  # of the same memory

    def forward(self, i):
        return self.out(self.words(i).mean(1)) + torch.from_numpy(self.seen).sum(1)


def test_a_forward_pass_that_reads_parameters_by_a_way_of_its_own_is_told(large):
    problem = posed(ByItsOwnWay())
    report = wp.check_gradients(problem)
    assert not [f for f in report.findings if f.verdict is FAILS]


class WithOff(Net):
    def forward(self, i):
        x = self.norm(self.words(i).mean(1))
        return Off.apply(x + self.two(F.silu(self.one(x)))) @ self.words.weight.T


def test_a_wrong_backward_pass_is_proven(large):
    report = wp.checkup(posed(WithOff()))
    first = next(f for f in report.findings if f.rule == "WP501")
    assert (first.where, first.cause) == ("Off.backward", "scale")


@pytest.mark.parametrize("verb", [wp.checkup, wp.check_gradients])
def test_a_wrong_tensor_is_explained_entry_by_entry(large, verb):
    model = Net()
    model.two.weight.register_hook(lambda g: 1.1 * g)
    found = next(f for f in verb(posed(model)).findings if f.rule == "WP501" and f.verdict is FAILS)
    assert (found.where, found.cause) == ("two.weight", "scale")
    assert "`two.weight[" in found.message


def test_a_tensor_too_large_for_that_is_named_with_what_its_coordinates_show(monkeypatch):
    monkeypatch.setattr(evaluation, "MANY", 0)
    monkeypatch.setattr(variants, "MANY", 0)
    model = Net()
    model.words.weight.register_hook(lambda g: -g)
    found = next(f for f in wp.check_gradients(posed(model)).findings if f.rule == "WP501" and f.verdict is FAILS)
    assert (found.where, found.cause) == ("words.weight", "sign")
    assert "words.weight[" not in found.message


def test_a_forward_pass_that_writes_to_its_weights_leaves_them_as_they_were(large):
    model = nn.Sequential(nn.Embedding(20, 6, max_norm=1.0), nn.Flatten(), nn.Linear(24, 4))
    batch = (torch.randint(20, (32, 4)), torch.randint(4, (32,)))
    before = model[0].weight.detach().clone()
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch))
    assert torch.equal(model[0].weight, before)
    assert report.ok


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(6, 5), (40, 3), (5, 2, 3, 3)]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_a_weight_answers_alike_wherever_it_lies(seed, shape, dtype):
    random = np.random.default_rng(seed)
    numbers = torch.from_numpy(random.standard_normal(shape)).to(dtype)
    kind = random.integers(4)
    if kind == 1:
        numbers[0] = numbers[-1]
    elif kind == 2:
        numbers[:] = random.integers(2)
    elif kind == 3:
        numbers = torch.where(numbers > 0, 0.0, -0.0).to(dtype)
    one, other = Weight(numbers.double().numpy()), TensorWeight(numbers)
    assert (one.any, one.constant, one.patterned) == (other.any, other.constant, other.patterned)
    assert one.mean_square == pytest.approx(other.mean_square, rel=1e-6, abs=1e-12)
    assert np.array_equal(one.numbers, other.numbers)
    for axis in range(2):
        assert one.repeated(axis) == other.repeated(axis)
        assert one.mean_cosine(axis) == pytest.approx(other.mean_cosine(axis), abs=1e-9)
    assert other.digest == TensorWeight(numbers.clone()).digest
    if kind == 0:
        assert other.digest != TensorWeight(numbers.flip(0)).digest


def test_a_layout_reads_what_lies_apart():
    layout = Layout({"a": (2,), "b": ()})
    apart = Tensors({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)})
    assert layout.named(apart) is apart
    assert layout.pack(layout.unpack(apart)).tolist() == [1, 2, 3]


class Swapping(Net):
    """A forward pass that puts other data into a parameter, and its own back."""

    def forward(self, i):
        own = self.two.weight.data
        self.two.weight.data = 1.5 * own
        made = super().forward(i)
        self.two.weight.data = own
        return made


class Editing(Net):
    """A cast is a tensor of its own, which may be edited."""

    def forward(self, i):
        x = self.norm(self.words(i).mean(1))
        weight = self.two.weight.double()
        weight *= 0.5
        h = F.silu(self.one(x)).double() @ weight.T
        return (x + h.float()) @ self.words.weight.T


class Looking(Net):
    """Looks up by a function that has the table first."""

    def forward(self, i):
        return torch.embedding(self.words.weight, i).mean(1) @ self.words.weight.T + super().forward(i)


@pytest.mark.parametrize("made", [Swapping, Editing, Looking])
def test_what_a_forward_pass_does_with_its_weights_leaves_them_as_they_were(large, made):
    model = made()
    before = {name: (p.data_ptr(), p.dtype, p.detach().clone()) for name, p in model.named_parameters()}
    wp.checkup(posed(model))
    for name, p in model.named_parameters():
        place, dtype, bits = before[name]
        assert (p.data_ptr(), p.dtype) == (place, dtype)
        assert torch.equal(p, bits)


@pytest.mark.parametrize("made", [Editing, Looking])
def test_a_healthy_model_that_reads_its_weights_otherwise_holds(large, made):
    assert not [f for f in wp.check_gradients(posed(made())).findings if f.verdict is FAILS]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_hold(large, reentrant):
    class Saving(Net):
        def forward(self, i):
            x = self.norm(self.words(i).mean(1))
            h = torch.utils.checkpoint.checkpoint(lambda x: self.two(F.silu(self.one(x))), x, use_reentrant=reentrant)
            return (x + h) @ self.words.weight.T

    assert not [f for f in wp.check_gradients(posed(Saving())).findings if f.verdict is FAILS]


def test_weights_in_float64_are_left_as_they_are():
    """Their squares are summed in float64, which is the format that they are in already."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1100, 1000), nn.ReLU(), nn.Linear(1000, 3)).double()
    assert sum(p.numel() for p in model.parameters()) > MANY
    before = [p.detach().clone() for p in model.parameters()]
    data = torch.randn(8, 1100, dtype=torch.float64), torch.randint(3, (8,))
    wp.check_weights(wp.TorchProblem(model, nn.CrossEntropyLoss(), data))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
