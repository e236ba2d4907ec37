"""What a check costs where something is wrong or odd: evaluations, and time in training steps, quick and close.

python benchmarks/cost.py [--only NAME,NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import runpy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import wellposed as wp

SEED = 0
STEPS = 7  # timed, of which the median counts
EXAMPLES = Path(__file__).parent.parent / "examples"


class _Norm(torch.autograd.Function):
    """RMSNorm with a backward pass of its own; `error` is what its input's gradient is multiplied by."""

    error = 1.0

    @staticmethod
    def forward(context: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        scale = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
        context.save_for_backward(x, weight, scale)
        return x * scale * weight

    @classmethod
    def _gradient(cls, context: Any, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight, scale = context.saved_tensors
        gw = g * weight
        dx = scale * (gw - x * scale.square() * (gw * x).mean(-1, keepdim=True))
        return dx, (g * x * scale).flatten(0, -2).sum(0)

    @staticmethod
    def backward(context: Any, g: torch.Tensor) -> Any:
        return _Norm._gradient(context, g)


class _WrongNorm(_Norm):
    @staticmethod
    def backward(context: Any, g: torch.Tensor) -> Any:
        dx, dw = _Norm._gradient(context, g)
        return 1.05 * dx, dw


class _RMSNorm(nn.Module):
    def __init__(self, size: int, function: type) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.ones(size)), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function.apply(x, self.weight)


def _rotated(x: torch.Tensor) -> torch.Tensor:
    t, half = x.shape[-2], x.shape[-1] // 2
    angle = torch.arange(t, dtype=x.dtype)[:, None] * 10_000 ** (-torch.arange(half, dtype=x.dtype) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


class _Block(nn.Module):
    def __init__(self, size: int, heads: int, first: type, second: type) -> None:
        super().__init__()
        self.before, self.between = _RMSNorm(size, first), _RMSNorm(size, second)
        self.q, self.k, self.v, self.o = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(size, 2 * size, bias=False) for _ in range(2))
        self.down, self.heads = nn.Linear(2 * size, size, bias=False), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        h = self.before(x)
        q, k, v = (part(h).view(n, t, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        a = nn.functional.scaled_dot_product_attention(_rotated(q), _rotated(k), v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(n, t, d))
        h = self.between(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


def llama(layers: int = 2, wrong: bool = False) -> wp.Problem:
    """The norm of the last block's feed-forward part is the one that may be wrong."""
    torch.manual_seed(SEED)
    blocks = [_Block(64, 4, _Norm, _WrongNorm if wrong and i == layers - 1 else _Norm) for i in range(layers)]
    model = nn.Sequential(nn.Embedding(100, 64), *blocks, _RMSNorm(64, _Norm), nn.Linear(64, 100, bias=False))
    words = torch.randint(100, (4, 32))

    def loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(scores.flatten(0, 1), wanted.flatten())

    return wp.TorchProblem(model, loss, (words, words.roll(-1, 1)), optimizer=_adam(model))


def vae(wrong: str = "") -> wp.Problem:
    torch.manual_seed(SEED)

    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
            self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, x: torch.Tensor) -> Any:
            mean, log_variance = self.encoder(x).chunk(2, -1)
            deviation = (log_variance / 2).exp()
            if wrong == "sampled":
                z = torch.distributions.Normal(mean, deviation).sample()
            else:
                z = mean + deviation * torch.randn_like(mean)
            return self.decoder(z.detach() if wrong == "detached" else z), mean, log_variance

    model = VAE()
    x = torch.rand(64, 64)

    def loss(outputs: Any, wanted: torch.Tensor) -> torch.Tensor:
        made, mean, log_variance = outputs
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
        return nn.functional.binary_cross_entropy_with_logits(made, wanted, reduction="none").sum(-1).mean() + kl

    return wp.TorchProblem(model, loss, (x, x), optimizer=_adam(model))


def actor_critic() -> wp.Problem:
    """The advantage is held, as it should be."""
    torch.manual_seed(SEED)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.actor, self.critic = nn.Linear(8, 64), nn.Linear(64, 4), nn.Linear(64, 1)

        def forward(self, x: torch.Tensor) -> Any:
            h = torch.tanh(self.body(x))
            return self.actor(h), self.critic(h).squeeze(-1)

    model, x = Net(), torch.randn(64, 8)
    actions, returns = torch.randint(4, (64,)), torch.randn(64)

    def loss(outputs: Any, wanted: Any) -> torch.Tensor:
        scores, value = outputs
        chosen, gained = wanted
        advantage = (gained - value).detach()
        kept = nn.functional.cross_entropy(scores, chosen, reduction="none")
        return (kept * advantage).mean() + 0.5 * (gained - value).square().mean()

    return wp.TorchProblem(model, loss, (x, (actions, returns)), optimizer=_adam(model))


def deep(rate: float = 1e-3, layers: int = 100) -> wp.Problem:
    """Residual and narrow: two tensors for each of the layers."""
    torch.manual_seed(SEED)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(32, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.tanh(self.linear(x)) / layers**0.5

    model = nn.Sequential(nn.Linear(16, 32), *(Residual() for _ in range(layers)), nn.Linear(32, 4))
    batch = (torch.randn(64, 16), torch.randint(4, (64,)))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch, optimizer=torch.optim.SGD(model.parameters(), rate))


def by_hand(wrong: Callable[[dict[str, Any]], dict[str, Any]] = lambda g: g, size: int = 64) -> wp.Problem:
    """Backpropagation in NumPy."""
    random = np.random.default_rng(SEED)
    x, y = random.standard_normal((32, 16)), random.standard_normal((32, 1))
    params = {
        "W1": random.standard_normal((16, size)) / 4,
        "b1": 0.1 * random.standard_normal(size),
        "W2": random.standard_normal((size, size)) / size**0.5,
        "b2": 0.1 * random.standard_normal(size),
        "W3": random.standard_normal((size, 1)) / size**0.5,
        "b3": 0.1 * random.standard_normal(1),
    }

    def forward(p: dict[str, Any]) -> Any:
        a = np.tanh(x @ p["W1"] + p["b1"])
        b = np.tanh(a @ p["W2"] + p["b2"])
        return a, b, b @ p["W3"] + p["b3"]

    def value(p: dict[str, Any]) -> float:
        return float(((forward(p)[2] - y) ** 2).mean())

    def gradient(p: dict[str, Any]) -> dict[str, Any]:
        a, b, out = forward(p)
        d = 2 * (out - y) / y.size
        db = d @ p["W3"].T * (1 - b**2)
        da = db @ p["W2"].T * (1 - a**2)
        found = {"W1": x.T @ da, "b1": da.sum(0), "W2": a.T @ db, "b2": db.sum(0), "W3": b.T @ d, "b3": d.sum(0)}
        return wrong(found)

    return wp.FunctionProblem(value, gradient, params)


def _one_entry(g: dict[str, Any]) -> dict[str, Any]:
    g["W2"][123 % len(g["W2"]), 45] *= 1.5
    return g


def _all_wrong(g: dict[str, Any]) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {name: part * random.uniform(0.5, 1.5, part.shape) for name, part in g.items()}


def example(name: str) -> wp.Problem:
    torch.manual_seed(SEED)
    return runpy.run_path(str(EXAMPLES / name))["problem"]()


def quantized() -> wp.Problem:
    """Rounded weights without a surrogate gradient, beside a corner in every second layer."""
    torch.manual_seed(SEED)

    class Rounded(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, torch.round(8 * self.weight) / 8, self.bias)

    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), Rounded(64, 64), nn.ReLU(), nn.Linear(64, 4))
    batch = (torch.randn(64, 16), torch.randint(4, (64,)))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch, optimizer=_adam(model))


def half() -> wp.Problem:
    """In bfloat16, where differences show little."""
    torch.manual_seed(SEED)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.GELU()) for _ in range(8)), nn.Linear(32, 4)).bfloat16()

    class Mine(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype is torch.bfloat16  # no float64 copy
            return x.clone()

        @staticmethod
        def backward(context: Any, g: torch.Tensor) -> torch.Tensor:
            return g

    def loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(Mine.apply(scores).float(), wanted)

    batch = (torch.randn(64, 32).bfloat16(), torch.randint(4, (64,)))
    return wp.TorchProblem(model, loss, batch, optimizer=_adam(model))


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), 1e-3)


CASES: dict[str, Callable[[], wp.Problem]] = {
    "Llama, 2 blocks, RMSNorm by hand": llama,
    "its last norm 5 % off": lambda: llama(wrong=True),
    "Llama, 8 blocks, the last norm 5 % off": lambda: llama(8, wrong=True),
    "VAE": vae,
    "VAE, sampled without a gradient": lambda: vae("sampled"),
    "VAE, detached": lambda: vae("detached"),
    "actor and critic, advantage held": actor_critic,
    "examples/broken_deep.py": lambda: example("broken_deep.py"),
    "200 tensors": deep,
    "200 tensors, learning rate 1000": lambda: deep(1000.0),
    "200 tensors, learning rate 1e-9": lambda: deep(1e-9),
    "weights rounded": quantized,
    "bfloat16 alone": half,
    "NumPy by hand": by_hand,
    "one entry of 4,096 wrong": lambda: by_hand(_one_entry),
    "one entry of a million wrong": lambda: by_hand(_one_entry, 1000),
    "every tensor wrong": lambda: by_hand(_all_wrong),
}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--only", default="", help="cases whose name holds one of these, by commas")
    chosen = [word for word in words.parse_args().only.split(",") if word]
    print("### What a check costs (targets: quick 40 evaluations and steps, 80 where something is wrong; close 400)\n")
    print("| problem | tensors | quick: evaluations | steps in time | found | close: evaluations | found |")
    print("|---|---|---|---|---|---|---|")
    wp.checkup(vae())  # what is loaded when it is first used counts for none of them
    for name, make in CASES.items():
        if not chosen or any(word in name for word in chosen):
            print(f"| {name} | {' | '.join(measured(make))} |", flush=True)
    print()


def measured(make: Callable[[], wp.Problem]) -> Iterator[str]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        problem = make()
        step = _step(problem)
        yield str(len(problem.layout.names))
        started = time.perf_counter()
        report = wp.checkup(problem)
        spent = time.perf_counter() - started
        yield str(report.evaluations)
        yield f"{spent / step:.0f}" if step else ""
        yield _found(report)
        report = wp.check_gradients(make())
        yield str(report.evaluations)
        yield _found(report)


def _step(problem: wp.Problem) -> float:
    """Seconds of a training step, without the optimizer's."""
    theta = problem.theta()

    def step() -> float:
        started = time.perf_counter()
        if isinstance(problem, wp.TorchProblem):
            problem.model.zero_grad()
            problem.loss(problem.model(problem.batch[0]), problem.batch[1]).backward()
        else:
            problem.value(theta)
            problem.gradient(theta)
        return time.perf_counter() - started

    step()
    return statistics.median(step() for _ in range(STEPS))


def _found(report: wp.Report) -> str:
    told = [f"{f.rule} {f.cause}".strip() for f in report.findings if f.found and not f.follows]
    return ", ".join(dict.fromkeys(told)) or "-"


if __name__ == "__main__":
    main()
