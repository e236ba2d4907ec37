"""What holds on the CPU holds on a CUDA device: `make test-cuda`. Without one, these tests run on the CPU alone."""

import random
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from gradient_bugs import CASES
from torch import nn

import wellposed as wp
from networks import Off
from wellposed.__main__ import main
from wellposed.numerics.theta import MANY

CUDA = torch.cuda.is_available()
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not CUDA, reason="there is no CUDA device here"))]
FAILS, SUSPECT = wp.Verdict.FAILS, wp.Verdict.SUSPECT


@pytest.fixture(params=DEVICES)
def device(request):
    torch.set_default_device(request.param)
    yield request.param
    torch.set_default_device(None)


def moved(problem, device):
    """The corpus draws its data on the CPU."""
    batch = tuple(part.to(device) for part in problem.batch)
    return wp.TorchProblem(problem.model.to(device), problem.loss, batch)


def wrong(report):
    return {f.where for f in report.findings if f.verdict is FAILS}


@pytest.mark.parametrize("case", CASES["torch"], ids=lambda case: case.name)
def test_bugs_are_found_and_their_twins_are_not(case):
    if not CUDA:
        pytest.skip("there is no CUDA device here; on the CPU test_corpus.py tests the same")
    if case.cause == "left-out":
        pytest.skip("noted, and not failing")
    seed = CASES["torch"].index(case)
    assert wrong(wp.check_gradients(moved(case.build(case.fault, seed), "cuda"))) == case.wrong
    assert wp.check_gradients(moved(case.build("", seed), "cuda")).ok


class Net(nn.Module):
    """Of every kind of thing that keeps a state."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3)
        self.lstm, self.head = nn.LSTM(36, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        steps = self.drop(torch.relu(self.norm(self.conv(x)))).flatten(2)
        return self.head(self.lstm(steps)[0][:, -1])


def state(model, optimizer):
    kept = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
    kept += [value for states in optimizer.state.values() for value in states.values()]
    generators = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if CUDA else ())]
    return (
        [tensor.detach().clone() for tensor in kept],
        generators,
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )


def test_everything_is_as_before(device):
    model, x, y = Net(), torch.randn(16, 1, 8, 8), torch.randint(3, (16,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=device == "cuda")
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    before = state(model, optimizer)
    report = wp.checkup(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y), optimizer=optimizer), after_steps=3)
    after = state(model, optimizer)
    assert not wrong(report)
    for one, other in zip(before[0] + before[1], after[0] + after[1], strict=True):
        assert torch.equal(one, other)
    assert before[2:] == after[2:]


def test_an_initialized_network_is_sound(device):
    model = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(20)), nn.Linear(64, 4))
    x, y = torch.randn(64, 64), torch.randint(4, (64,))
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y))
    wp.initialize(model, x)
    assert all(parameter.device.type == device for parameter in model.parameters())
    assert not wrong(wp.checkup(problem))


def test_a_file_is_checked(device, tmp_path, capsys):
    file = tmp_path / "training.py"
    file.write_text(
        f"import torch\nimport wellposed as wp\nfrom torch import nn\n\ntorch.set_default_device({device!r})\n\n\n"
        "def problem():\n    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))\n"
        "    batch = (torch.randn(64, 8), torch.randint(3, (64,)))\n"
        "    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch)\n"
    )
    assert main(["check", str(file)]) in (0, None)
    assert "wellposed: ok" in capsys.readouterr().out


class Block(nn.Module):
    def __init__(self, size, heads=4):
        super().__init__()
        self.one, self.two = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down, self.heads = nn.Linear(size, 4 * size), nn.Linear(4 * size, size), heads

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.one(x)).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, d))
        return x + self.down(nn.functional.gelu(self.up(self.two(x))))


class Language(nn.Module):
    """Of more parameters than a vector of them is nothing for; in autocast as on the device that it is made for."""

    def __init__(self, words=2000, size=128, layers=6):
        super().__init__()
        self.words, self.norm = nn.Embedding(words, size), nn.LayerNorm(size)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(layers)))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(self, words):
        with torch.autocast(words.device.type, torch.bfloat16):
            return self.norm(self.blocks(self.words(words))) @ self.words.weight.T


def scored(scores, wanted):
    return nn.functional.cross_entropy(scores.flatten(0, 1).float(), wanted.flatten())


def posed(device):
    model, words = Language(), torch.randint(2000, (8, 32))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=device == "cuda")
    assert sum(p.numel() for p in model.parameters()) > MANY
    return model, wp.TorchProblem(model, scored, (words, words.roll(-1, 1)), optimizer=optimizer)


def test_a_large_model_in_autocast_is_sound_and_as_before(device):
    model, problem = posed(device)
    before = {name: (id(p), p.data_ptr(), p.detach().clone()) for name, p in model.named_parameters()}
    report = wp.checkup(problem)
    assert not wrong(report)
    for name, p in model.named_parameters():
        identity, place, bits = before[name]
        assert (id(p), p.data_ptr()) == (identity, place)
        assert torch.equal(p, bits)
        assert p.grad is None


def test_a_wrong_backward_pass_of_a_large_model_is_proven(device):
    model, problem = posed(device)
    inner = model.blocks[3].forward
    model.blocks[3].forward = lambda x: Off.apply(inner(x))
    report = wp.checkup(problem)
    first = next(f for f in report.findings if f.rule == "WP501")
    assert (first.where, first.cause) == ("Off.backward", "scale")
    assert report.evaluations <= 80


def test_a_wrong_tensor_of_a_large_model_is_named(device):
    model, problem = posed(device)
    model.blocks[2].up.weight.register_hook(lambda g: 1.1 * g)
    found = next(f for f in wp.checkup(problem).findings if f.rule == "WP501" and f.verdict is FAILS)
    assert (found.where, found.cause) == ("blocks.2.up.weight", "scale")


def test_what_is_held_beside_a_large_model_agrees(device):
    model, problem = posed(device)
    inner = model.blocks[2].forward
    model.blocks[2].forward = lambda x: x + inner(x.detach())
    report = wp.checkup(problem)
    assert not wrong(report)
    assert any(f.cause == "detached" for f in report.findings if f.rule == "WP501")


def test_nothing_as_large_as_the_model_crosses_to_the_host(device, monkeypatch):
    model, problem = posed(device)
    crossed, cpu, to = [], torch.Tensor.cpu, torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: crossed.append(tensor.numel()) or cpu(tensor))

    def watched(tensor, *where, **how):
        if "cpu" in (*where, how.get("device")):
            crossed.append(tensor.numel())
        return to(tensor, *where, **how)

    monkeypatch.setattr(torch.Tensor, "to", watched)
    wp.check_gradients(problem)
    assert max(crossed, default=0) < MANY / 10
    assert model.words.weight.numel() > MANY / 10


@pytest.mark.skipif(not CUDA, reason="there is no CUDA device here")
def test_a_check_up_takes_little_more_memory_than_a_step():
    torch.set_default_device("cuda")
    try:
        model, problem = posed("cuda")
        size = sum(p.numel() * p.element_size() for p in model.parameters())

        def peak(run):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            run()
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated()

        def step():
            problem.optimizer.zero_grad()
            scored(model(problem.batch[0]), problem.batch[1]).backward()
            problem.optimizer.step()

        checked = peak(lambda: wp.checkup(problem))
        step()
        problem.optimizer.zero_grad()
        trained = peak(step)
        assert checked <= trained + 1.25 * size
    finally:
        torch.set_default_device(None)


def test_without_a_device_it_says_so():
    if CUDA:
        pytest.skip("there is a CUDA device here")
    words = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", __file__, "-k", "memory"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    assert re.search(r"SKIPPED .*there is no CUDA device here", said)


# --- the same gradient on two ways ---------------------------------------------------------------


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(context, x, w, factor):
        context.save_for_backward(x, w)
        context.factor = factor
        return x @ w.T

    @staticmethod
    def backward(context, g):
        x, w = context.saved_tensors
        return g @ w, context.factor * (g.T @ x), None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_one_percent_is_seen_in_every_format(device, dtype):
    x, w = (torch.randn(shape).to(dtype).requires_grad_() for shape in ((53, 24), (40, 24)))
    (right,) = wp.check_paths(lambda x, w: x @ w.T, lambda x, w: Halved.apply(x, w, 1.0), (x, w)).findings
    assert right.verdict is wp.Verdict.HOLDS
    (finding,) = wp.check_paths(lambda x, w: x @ w.T, lambda x, w: Halved.apply(x, w, 1.01), (x, w)).findings
    assert (finding.verdict, finding.cause, finding.where) == (FAILS, "scale", "inputs[1]")


@pytest.mark.parametrize("where", DEVICES)
def test_a_right_model_holds_on_its_paths(where):
    """Placed by hand: torch's checkpointing enters a default device once more, which then outlives its end."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(nn.Linear(8, 32), encoder, nn.Linear(32, 3)).to(where)
    data = torch.randn(16, 10, 8).to(where), torch.randint(3, (16, 10)).to(where)

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    problem = wp.TorchProblem(model, loss, data, optimizer=optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    paths = ("checkpoint", "autocast", "bfloat16", "channels-last", "attention:math", "optimizer:fused")
    report = wp.check_paths(problem, paths=paths)
    assert report.ok, report
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
