"""Objects as people really have them: what cannot be copied, closures, counters, weights written in forward; each left as it was."""

import copy
import gc
import os
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from test_signals_rules import verdict

HOLDS, FAILS = wp.Verdict.HOLDS, wp.Verdict.FAILS


def batch():
    torch.manual_seed(1)
    return torch.randn(32, 8), torch.randint(3, (32,))


class Net(nn.Module):
    """Its parts take their turn in `forward` by what `extra` does."""

    def __init__(self, extra=lambda net, x: None):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.extra = nn.Linear(8, 16), nn.Linear(16, 3), extra

    def forward(self, x):
        self.extra(self, x)
        return self.b(torch.tanh(self.a(x)))


def adam(model):
    return torch.optim.Adam(model.parameters(), 1e-2)


# --- what deepcopy refuses --------------------------------------------------------------------------


def with_lock(net):
    net.lock = threading.Lock()


def with_file(net):
    net.log = open(os.devnull)  # noqa: SIM115


def with_activation(net):
    net.last = net.a(batch()[0])


def with_generator(net):
    net.numbers = (n for n in range(3))


@pytest.mark.parametrize(
    "part", [with_lock, with_file, with_activation, with_generator], ids=lambda part: part.__name__
)
@pytest.mark.parametrize("options", [{}, {"after_steps": 3}, {"full": True}, {"remedies": True}], ids=str)
def test_what_cannot_be_copied_is_checked_in_place(part, options):
    model = Net()
    part(model)
    bits = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = adam(model)
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch(), optimizer=optimizer), **options)
    assert report.ok
    assert verdict(report, "WP402").verdict is HOLDS
    assert all(torch.equal(one, other) for one, other in zip(bits, model.parameters(), strict=True))
    assert not optimizer.state
    assert optimizer.param_groups[0]["lr"] == 1e-2
    if part is with_file:
        model.log.close()


# --- functions that close over what is copied ---------------------------------------------------------


class Closing(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)
        self.f = lambda x: self.b(torch.tanh(self.a(x)))

    def forward(self, x):
        return self.f(x)


@pytest.mark.parametrize("rate", [0.1, 1e4])
def test_a_lambda_that_closes_over_its_module_trains(rate):
    model = Closing()
    problem = wp.TorchProblem(
        model, nn.CrossEntropyLoss(), batch(), optimizer=torch.optim.SGD(model.parameters(), rate)
    )
    report = wp.checkup(problem)
    assert report.problem.checked_in == "float64"
    assert verdict(report, "WP402").verdict is (HOLDS if rate < 1 else FAILS)


@pytest.mark.parametrize("options", [{}, {"after_steps": 3}, {"full": True}], ids=str)
def test_a_loss_that_closes_over_its_model(options):
    model = Net()

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets) + 1e-3 * sum(p.square().sum() for p in model.parameters())

    report = wp.checkup(wp.TorchProblem(model, loss, batch()), **options)
    assert report.ok
    assert report.problem.checked_in == "float64"
    assert report.problem.tensors == 4


def test_a_copy_that_still_uses_the_original_is_not_taken():
    shared = nn.Linear(8, 3)

    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = shared

        def __deepcopy__(self, memo):
            return self

        def forward(self, x):
            return self.layer(x)

    report = wp.check_gradients(wp.TorchProblem(Stubborn(), nn.CrossEntropyLoss(), batch()))
    assert report.ok
    assert not report.problem.checked_in
    assert report.problem.coarse
    assert "not in float64, as " in str(report)


def test_what_a_loss_closes_over_and_what_it_makes_is_lifted_to_float64():
    noise, scale = torch.randn(32, 8), torch.tensor([0.5, 1.0, 2.0])

    def loss(model):
        drawn = torch.randn(32, 8)
        return (model(noise + 0.1 * drawn) * scale - torch.eye(3)[torch.arange(32) % 3]).square().mean()

    report = wp.check_gradients(wp.TorchProblem(Net(), loss))
    assert report.problem.checked_in == "float64"
    assert report.ok


# --- what a forward pass leaves behind ------------------------------------------------------------------


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Linear(8, 3)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.calls, self.seen, self.sizes, self.running = 0, [], {}, torch.zeros(3)
        self.counts = np.zeros(2)

    def forward(self, x):
        x.add_(0.5)
        self.calls += 1
        self.seen.append(x.shape)
        self.sizes[self.calls] = x.shape[0]
        self.counts += 1
        with torch.no_grad():
            for mine, its in zip(self.student.parameters(), self.teacher.parameters(), strict=True):
                its.data.lerp_(mine, 0.1)
            self.running += 1
        self.latest = self.student(x)
        return self.latest + self.teacher(x)


def state_of(model):
    held = {key: value for key, value in vars(model).items() if not key.startswith("_")}
    return {
        "bits": [tensor.detach().clone() for tensor in model.state_dict().values()],
        "running": model.running.clone(), "counts": model.counts.copy(), "names": sorted(held),
        "plain": (model.calls, list(model.seen), dict(model.sizes)),
    }  # fmt: skip


@pytest.mark.parametrize("verb", [wp.checkup, wp.check_gradients, wp.check_signals, wp.check_weights, wp.trace])
def test_a_forward_pass_that_writes_to_what_the_model_holds(verb):
    model, (x, y) = Teacher(), batch()
    before, rows = state_of(model), x.clone()
    verb(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y), optimizer=adam(model)))
    after = state_of(model)
    assert all(torch.equal(one, other) for one, other in zip(before["bits"], after["bits"], strict=True))
    assert torch.equal(before["running"], after["running"])
    assert np.array_equal(before["counts"], after["counts"])
    assert (before["names"], before["plain"]) == (after["names"], after["plain"])
    assert torch.equal(rows, x)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_weights_that_hooks_make_stay_the_same_objects():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 3))
    nn.utils.prune.l1_unstructured(model[2], "weight", 0.5) if hasattr(nn.utils, "prune") else None
    model(batch()[0])
    made = model[0].weight
    wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch()))
    assert model[0].weight is made


def test_a_generator_deep_within_is_held_and_put_back():
    draw = torch.Generator().manual_seed(5)
    model = Net(lambda net, x: None)
    model.deep = {"a": [{"b": [{"c": [{"d": draw}]}]}]}
    model.extra = lambda net, x: x.add_(0.0 * torch.rand(1, generator=net.deep["a"][0]["b"][0]["c"][0]["d"]))
    state = draw.get_state()
    report = wp.check_gradients(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch()))
    assert report.ok
    assert torch.equal(state, draw.get_state())


# --- interrupts and threads -----------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.002, 0.01, 0.03, 0.05, 0.08])
def test_an_interrupt_at_any_time_leaves_everything_as_it_was(after):
    model = Net()
    bits = [parameter.detach().clone() for parameter in model.parameters()]
    errors, grad = np.geterr(), torch.is_grad_enabled()
    own = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    handler = signal.getsignal(signal.SIGALRM)
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), batch(), optimizer=adam(model))
    gc.disable()  # a signal that comes within a callback of its own raises where nobody sees it
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        wp.checkup(problem, full=True)
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        assert signal.getsignal(signal.SIGALRM) is handler
        signal.signal(signal.SIGALRM, own)
    assert all(torch.equal(one, other) for one, other in zip(bits, model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (np.geterr(), torch.is_grad_enabled()) == (errors, grad)
    assert torch._C._len_torch_function_stack() == 0


def test_two_checks_in_two_threads():
    reports = []

    def check(seed):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3))
        reports.append(wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch())))

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.ok for report in reports] == [True] * 4


# --- optimizers that hold nothing, and what is no optimizer ---------------------------------------------------


def frozen_and_replaced():
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net[2] = nn.Linear(8, 3)
    return net, optimizer


def emptied():
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(net.parameters(), 0.1)
    optimizer.param_groups[0]["params"] = []
    return net, optimizer


@pytest.mark.parametrize("make", [frozen_and_replaced, emptied], ids=lambda make: make.__name__)
@pytest.mark.parametrize("options", [{}, {"after_steps": 2}, {"remedies": True}], ids=str)
def test_an_optimizer_that_trains_nothing(make, options):
    model, optimizer = make()
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch(), optimizer=optimizer), **options)
    found = verdict(report, "WP403")
    assert found.cause == "not-in-optimizer"
    assert "knows no parameter of the model" in found.message


@pytest.mark.parametrize("given", ["adam", torch.optim.Adam, 0.1, [1], {"lr": 0.1}, True])
def test_what_is_no_optimizer_gets_one_message(given):
    with pytest.raises(wp.InputError, match="optimizer must be a torch optimizer"):
        wp.TorchProblem(Net(), nn.CrossEntropyLoss(), batch(), optimizer=given)


@pytest.mark.parametrize("given", ["WP5", ["WP501"], {"WP1"}, 5])
def test_what_is_no_filter_gets_one_message(given):
    with pytest.raises(wp.InputError, match="only must be a function"):
        wp.checkup(wp.TorchProblem(Net(), nn.CrossEntropyLoss(), batch()), only=given)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("options", [{}, {"full": True}], ids=str)
def test_reentrant_checkpoints(dropout, options):
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.m, self.b = (
                nn.Linear(8, 16),
                nn.Sequential(nn.Linear(16, 16), nn.Dropout(dropout), nn.Tanh()),
                nn.Linear(16, 3),
            )

        def forward(self, x):
            return self.b(checkpoint(self.m, torch.tanh(self.a(x)), use_reentrant=True))

    model = Checkpointed()
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch(), optimizer=adam(model)), **options)
    assert report.ok
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_backward_pass_that_raises_is_a_finding():
    def edited(net, x):
        return None

    class Editing(Net):
        def forward(self, x):
            h = torch.tanh(self.a(x))
            out = self.b(h)
            h.mul_(2)
            return out

    report = wp.checkup(wp.TorchProblem(Editing(edited), nn.CrossEntropyLoss(), batch()), after_steps=0)
    found = verdict(report, "WP501")
    assert (found.verdict, found.cause) == (FAILS, "raises")
    assert "modified by an inplace operation" in found.message
    assert verdict(report, "WP201").message.startswith("There is no gradient: the backward pass raises RuntimeError")


def test_a_loss_that_raises_is_one_clear_message_and_still_its_own_error():
    with pytest.raises(wp.InputError, match="the loss raises ZeroDivisionError: division by zero") as raised:
        wp.checkup(wp.TorchProblem(Net(), lambda out, y: 1 / 0, batch()))
    assert isinstance(raised.value, ZeroDivisionError)
