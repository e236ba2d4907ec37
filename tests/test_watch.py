"""A training loop as it runs: what is captured is what was computed, nothing is changed, and problems come out of it."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wellposed as wp
from wellposed.backends.torch.watching.watch import TorchWatch


class Losses:
    """The losses of the first step, as captured; each was held against the script's own."""

    def __init__(self, **options):
        self.captured = []
        self.values = []
        self.watch = TorchWatch(self._look, lambda: None, step=1, steps=2, untouched=True, **options)

    def _look(self, captured, optimizer, trained):
        self.captured.append(captured)
        with captured.as_it_was():
            problem = captured.problem(optimizer, trained)
            self.values.append(problem.value(problem.theta()))

    def __enter__(self):
        self.watch.__enter__()
        return self

    def __exit__(self, *error):
        self.watch.__exit__(*error)
        assert self.watch.failed is None


def data(rows=16, features=6, classes=3):
    torch.manual_seed(0)
    return torch.randn(rows, features), torch.randint(classes, (rows,))


def mlp(*extra):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), *extra, nn.ReLU(), nn.Linear(8, 3))


def plain():
    x, y = data()
    net = mlp(nn.BatchNorm1d(8), nn.Dropout(0.3))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def in_place():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        out = net(x)
        scores = torch.zeros(16, 3)
        scores[:, 0] = out[:, 0]
        scores[:, 1:] += 2 * out[:, 1:]
        scores.mul_(0.5)
        loss = 0
        for row, wanted in zip(scores, y, strict=True):
            loss += F.cross_entropy(row[None], wanted[None])
        loss /= len(y)
        loss += 1e-3 * sum(p.square().sum() for p in net.parameters())
        loss.backward()
        optimizer.step()
    return net


def label_reused():
    """The tensor of targets is written to after the loss has used it."""
    x, _ = data()
    net, optimizer = nn.Linear(6, 1), None
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    label = torch.empty(16)
    for _ in range(3):
        optimizer.zero_grad()
        label.fill_(1.0)
        F.binary_cross_entropy_with_logits(net(x).flatten(), label).backward()
        label.fill_(0.0)
        optimizer.step()
    return net


def carried_state():
    torch.manual_seed(0)
    net, head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 1e-2)
    state = None
    for _ in range(4):
        x = torch.randn(3, 6, 4)
        out, state = net(x, state)
        state = tuple(part.detach() for part in state)
        loss = head(out).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    return net


class Square(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 2 * x * gradient


class Standing(nn.Module):
    """Statistics in a frozen parameter, and a memory in a list that is bound anew."""

    def __init__(self):
        super().__init__()
        self.body, self.mean = nn.Linear(6, 3), nn.Parameter(torch.zeros(6), requires_grad=False)
        self.memory = []

    def forward(self, x):
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        self.memory = [*self.memory[-2:], self.mean.sum().item()]
        return self.body(x + 0.1 * sum(self.memory))


def own_state():
    x, y = data()
    torch.manual_seed(1)
    net = Standing()
    optimizer = torch.optim.Adafactor([p for p in net.parameters() if p.requires_grad], 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


def custom_function():
    x, _ = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        Square.apply(net(x)).mean().backward()
        optimizer.step()
    return net


def physics():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    x = torch.linspace(0, 1, 20)[:, None].requires_grad_()

    def closure():
        optimizer.zero_grad()
        u = net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        loss = (slope + u).square().mean() + (net(torch.zeros(1, 1)) - 1).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    return net


def by_hand():
    """No optimizer."""
    x, y = data()
    torch.manual_seed(2)
    weight = torch.randn(6, 3, requires_grad=True)
    for _ in range(3):
        loss = F.cross_entropy(x @ weight, y)
        loss.backward()
        with torch.no_grad():
            weight -= 0.1 * weight.grad
            weight.grad = None
    return weight


def functional():
    x, y = data()
    net = mlp()
    fast = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    optimizer = torch.optim.SGD(list(fast.values()), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(torch.func.functional_call(net, fast, (x,)), y).backward()
        optimizer.step()
    return fast["0.weight"]


def compiled():
    x, y = data()
    net = mlp()
    run = torch.compile(net, backend="eager")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(run(x), y).backward()
        optimizer.step()
    return net


def adversarial():
    torch.manual_seed(0)
    maker, judge = nn.Linear(3, 6), nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(inplace=True), nn.Linear(8, 1))
    of_maker, of_judge = torch.optim.Adam(maker.parameters()), torch.optim.Adam(judge.parameters())
    x, _ = data()
    for _ in range(3):
        of_judge.zero_grad()
        fake = maker(torch.randn(16, 3))
        F.softplus(-judge(x)).mean().backward()
        F.softplus(judge(fake.detach())).mean().backward()
        of_judge.step()
        of_maker.zero_grad()
        F.softplus(-judge(fake)).mean().backward()
        of_maker.step()
    return maker


def scaled():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # the first steps overflow
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
    return net


LOOPS = [
    *(plain, in_place, label_reused, carried_state, own_state, custom_function, physics, by_hand, functional, compiled),
    *(adversarial, scaled),
]


def weights(trained):
    tensors = [trained] if isinstance(trained, torch.Tensor) else [*trained.parameters(), *trained.buffers()]
    return [tensor.detach().clone() for tensor in tensors]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_what_is_captured_is_the_scripts_own_loss_and_gradient(loop):
    with Losses() as losses:
        loop()
    assert losses.captured
    assert [captured.unlike for captured in losses.captured] == [""] * len(losses.captured)
    for captured, value in zip(losses.captured, losses.values, strict=True):
        assert value == pytest.approx(captured.loss, rel=1e-6)


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_training_goes_on_bit_for_bit(loop):
    alone = weights(loop())
    with wp.watch(steps=2) as watched:
        seen = weights(loop())
    assert watched.report is not None
    assert all(torch.equal(one, other) for one, other in zip(alone, seen, strict=True))


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_right_loops_have_no_finding_of_the_step(loop):
    with wp.watch(only=lambda rule: rule.startswith("WP6")) as watched:
        loop()
    assert [finding for finding in watched.report.findings if finding.found] == []


def test_generators_are_left_as_they_were_and_nothing_stays_patched():
    before = (nn.Module.__call__, torch.autograd.backward, torch.optim.Optimizer.zero_grad, torch.manual_seed)
    random.seed(3), np.random.seed(3)
    plain()
    expected = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy())
    random.seed(3), np.random.seed(3)
    with wp.watch(steps=2):
        plain()
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert random.getstate() == expected[1]
    assert (np.random.get_state()[1] == expected[2]).all()
    assert before == (nn.Module.__call__, torch.autograd.backward, torch.optim.Optimizer.zero_grad, torch.manual_seed)
    assert torch._C._len_torch_function_stack() == 0


def test_the_problem_has_the_models_own_names_data_and_optimizer():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    problems = []
    watch = TorchWatch(
        lambda captured, optimizer, trained: problems.append(captured.problem(optimizer, trained)),
        lambda: None, step=1, steps=1, untouched=True,
    )  # fmt: skip
    with watch:
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    (problem,) = problems
    assert problem.layout.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert problem.model is net
    assert problem.batch[0] is x
    assert problem.batch[1] is y
    assert problem.optimizer is optimizer


def test_a_fault_of_the_problem_is_found_in_the_loop_with_its_line():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step(inputs, targets):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs).softmax(-1), targets)
        loss.backward()
        optimizer.step()

    report = wp.watch(step, x, y)
    (finding,) = [f for f in report.findings if f.rule == "WP401"]
    assert finding.cause == "double-softmax"


def test_a_lost_term_of_a_loop_is_found_at_its_line():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step():
        optimizer.zero_grad()
        penalty = net[0].weight.square().sum()
        loss = F.cross_entropy(net(x), y) + 0.1 * penalty.detach()  # lost here
        loss.backward()
        optimizer.step()

    report = wp.watch(step)
    (finding,) = [f for f in report.findings if f.rule == "WP409"]
    assert finding.verdict is wp.Verdict.FAILS
    assert "penalty.detach()" in finding.message


def test_several_losses_are_told_apart_by_their_lines():
    with wp.watch(steps=2) as watched:
        adversarial()
    assert watched.report.problem.backend.startswith("torch, ")


def test_the_clipped_step_is_the_one_that_is_tried():
    """A rate that would be far too large without the clip is none with it."""
    x, y = data(64)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)

    def train():
        for _ in range(3):
            optimizer.zero_grad()
            (1e3 * F.cross_entropy(net(x), y)).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()

    with wp.watch(only=lambda rule: rule == "WP402") as watched:
        train()
    assert [f.verdict for f in watched.report.findings if f.rule == "WP402"] == [wp.Verdict.HOLDS]


def test_what_goes_wrong_in_the_watch_is_no_affair_of_the_script(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("wellposed.backends.torch.watching.watch.capture", broken)
    alone = weights(plain())
    said = "wellposed stopped watching, and training went on: ZeroDivisionError"
    with pytest.warns(UserWarning, match=said), wp.watch():
        seen = weights(plain())
    assert all(torch.equal(one, other) for one, other in zip(alone, seen, strict=True))


def test_what_the_step_raises_comes_through():
    with pytest.raises(RuntimeError, match="of the user's own"), wp.watch():
        raise RuntimeError("of the user's own")


def test_a_loss_that_cannot_be_made_again_is_told_and_the_step_is_judged():
    x, y = data()
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    calls = []

    class Counting(nn.Module):
        def forward(self, out):
            calls.append(1)
            return out * len(calls)

    counting = Counting()

    def step():
        F.cross_entropy(counting(net(x)), y).backward()
        optimizer.step()

    report = wp.watch(step)
    assert any("could not be made again as the script made it: run again, it is" in f.message for f in report.findings)
    assert [f.verdict for f in report.findings if f.rule == "WP601"] == [wp.Verdict.HOLDS]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((3,), "watch takes a function that trains one step, not a int"),
        ((lambda: None,), "the step differentiated nothing: it called no backward(), jax.grad or jax.value_and_grad"),
    ],
)
def test_bad_input_is_told(given, said):
    with pytest.raises(wp.InputError) as raised:
        wp.watch(*given)
    assert said in str(raised.value)


def test_bad_options_are_told():
    with pytest.raises(wp.InputError, match="steps must be a whole number of at least 1, not 0"):
        wp.watch(steps=0)


def test_keras_and_loaders_with_workers_run_under_it():
    x, y = data(32)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(TensorDataset(x, y), batch_size=8, num_workers=1)
        with wp.watch(steps=2) as watched:
            for inputs, targets in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(inputs), targets).backward()
                optimizer.step()
    assert watched.report.ok
