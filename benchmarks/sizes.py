"""What a check-up costs at the size that is really trained: time in training steps, evaluations, extra peak memory in
copies of the parameters. A process for each figure; on a CUDA device in autocast bfloat16 with a fused AdamW.

python benchmarks/sizes.py [--device cuda] [--only NAME,NAME] [--faults]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp

SEED = 0
MOST = 600  # seconds a figure may take
FAULTS = ("", "backward", "weight", "entry", "detached", "rate")
_PAGES = Path("/proc/self/status")


class Attention(nn.Module):
    def __init__(self, size: int, heads: int, *, causal: bool = True, rotary: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(size, 3 * size, bias=bias), nn.Linear(size, size, bias=bias)
        self.heads, self.causal, self.rotary = heads, causal, rotary

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        if self.rotary:
            q, k = rotated(q), rotated(k)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).reshape(n, t, d))


def rotated(x: torch.Tensor) -> torch.Tensor:
    t, half = x.shape[-2], x.shape[-1] // 2
    angle = torch.arange(t, device=x.device)[:, None] * 10_000 ** (-torch.arange(half, device=x.device) / half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Pre-norm, as in GPT-2; with RMSNorm, SwiGLU and rotary positions as in Llama."""

    def __init__(self, size: int, heads: int, *, llama: bool = False, causal: bool = True) -> None:
        super().__init__()
        norm = nn.RMSNorm if llama else nn.LayerNorm
        self.before, self.between = norm(size), norm(size)
        self.attention = Attention(size, heads, causal=causal, rotary=llama, bias=not llama)
        wide = 8 * size // 3 if llama else 4 * size
        self.gate = nn.Linear(size, wide, bias=False) if llama else None
        self.up, self.down = nn.Linear(size, wide, bias=not llama), nn.Linear(wide, size, bias=not llama)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before(x))
        h = self.between(x)
        return x + self.down(F.gelu(self.up(h)) if self.gate is None else F.silu(self.gate(h)) * self.up(h))


class Language(nn.Module):
    def __init__(self, size: int, layers: int, heads: int, words: int, length: int, *, llama: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(words, size)
        self.positions = None if llama else nn.Parameter(0.02 * torch.randn(length, size))
        self.blocks = nn.ModuleList(Block(size, heads, llama=llama) for _ in range(layers))
        self.norm = nn.RMSNorm(size) if llama else nn.LayerNorm(size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.02)
        for block in self.blocks:
            for out in (block.attention.out, block.down):
                nn.init.normal_(out.weight, 0.0, 0.02 / (2 * layers) ** 0.5)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        x = x if self.positions is None else x + self.positions[: words.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.words.weight)


class Vision(nn.Module):
    def __init__(self, size: int, layers: int, heads: int, patch: int = 16, side: int = 224) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, size, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, size))
        self.blocks = nn.Sequential(*(Block(size, heads, causal=False) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(size), nn.Linear(size, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.positions)).mean(1))


class Basic(nn.Module):
    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(into, out, 3, stride, 1, bias=False),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
        )
        self.one, self.two = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        short = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.short = short if stride > 1 or into != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.two(self.second(F.relu(self.one(self.first(x))))) + self.short(x))


class ResNet18(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        sizes = [
            (64, 64, 1),
            (64, 64, 1),
            (64, 128, 2),
            (128, 128, 1),
            (128, 256, 2),
            (256, 256, 1),
            (256, 512, 2),
            (512, 512, 1),
        ]
        self.blocks, self.head = nn.Sequential(*(Basic(*size) for size in sizes)), nn.Linear(512, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Tagger(nn.Module):
    def __init__(self, words: int = 10_000, size: int = 512) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(words, size), nn.LSTM(size, size, 2, batch_first=True)
        self.blocks, self.head = nn.Sequential(nn.Identity()), nn.Linear(size, words)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.lstm(self.words(words))[0]))


class Off(torch.autograd.Function):
    """A backward pass that is 5 % too large."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, g: torch.Tensor) -> Any:
        return 1.05 * g


def with_one_wrong(g: torch.Tensor) -> torch.Tensor:
    """Its largest entry is twice as large."""
    wrong = g.clone()
    wrong.view(-1)[int(g.abs().argmax())] *= 2
    return wrong


class Set(NamedTuple):
    """`length` of a sequence of words, 0 for images."""

    model: Callable[[], nn.Module]
    rows: int
    length: int = 0
    words: int = 0


SETS = {
    "ResNet-18": Set(ResNet18, 32),
    "LSTM": Set(Tagger, 32, 64, 10_000),
    "ViT-S": Set(lambda: Vision(384, 12, 6), 16),
    "Llama 30M": Set(lambda: Language(512, 8, 8, 10_000, 256, llama=True), 8, 256, 10_000),
    "GPT-2 small": Set(lambda: Language(768, 12, 12, 50_257, 256), 4, 256, 50_257),
    "GPT-2 medium": Set(lambda: Language(1024, 24, 16, 50_257, 256), 4, 256, 50_257),
    "GPT-2 XL": Set(lambda: Language(1600, 48, 25, 50_257, 1024), 8, 1024, 50_257),
}
SMALL = tuple(SETS)[:5]  # what two cores can do in minutes


def posed(name: str, device: str, fault: str) -> tuple[nn.Module, Callable[..., Any], Any, Any]:
    made = SETS[name]
    torch.manual_seed(SEED)
    with torch.device(device):
        model = made.model()
        if made.length:
            words = torch.randint(made.words, (made.rows, made.length))
            batch = (words, words.roll(-1, 1))
        else:
            batch = (torch.randn(made.rows, 3, 224, 224), torch.randint(1000, (made.rows,)))
    blocks: Any = model.blocks
    middle = blocks[len(blocks) // 2]
    usual = middle.forward
    if fault == "backward":
        middle.forward = lambda x: Off.apply(usual(x))
    if fault == "detached":
        middle.forward = lambda x: usual(x).detach() + 0 * x
    weight = next(p for p in middle.parameters() if p.dim() > 1)
    if fault == "weight":
        weight.register_hook(lambda g: 1.05 * g)
    if fault == "entry":
        weight.register_hook(with_one_wrong)
    cuda = device.startswith("cuda")

    def loss(scores: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(scores.flatten(0, -2).float() if cuda else scores.flatten(0, -2), wanted.flatten())

    if cuda:
        inner = model.forward

        def cast(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cuda", torch.bfloat16):
                return inner(x)

        model.forward = cast
    rate = 1.0 if fault == "rate" else 3e-4
    optimizer = torch.optim.AdamW(model.parameters(), rate, fused=cuda)
    return model, loss, batch, optimizer


class Peak:
    """Bytes at most in use since it was made, above those in use then."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _pages("VmRSS")

    def seen(self) -> int:
        return (torch.cuda.max_memory_allocated() if self._cuda else _pages("VmHWM")) - self._before


def _pages(what: str) -> int:
    line = next(line for line in _PAGES.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def measure(name: str, kind: str, fault: str, device: str) -> dict[str, Any]:
    """One figure, in this process."""
    wp.checkup(wp.TorchProblem(nn.Linear(3, 3), nn.MSELoss(), (torch.randn(8, 3), torch.randn(8, 3))))  # loads
    model, loss, batch, optimizer = posed(name, device, fault)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    peak, started = Peak(device), time.perf_counter()
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    if kind == "step":
        for number in range(4):
            if number == 1:
                _wait(device)
                started = time.perf_counter()
            optimizer.zero_grad()
            loss(model(batch[0]), batch[1]).backward()
            optimizer.step()
        _wait(device)
        found["seconds"] = (time.perf_counter() - started) / 3
    else:
        problem = wp.TorchProblem(model, loss, batch, optimizer=optimizer)
        report = wp.checkup(problem, full=kind == "full")
        _wait(device)
        found["seconds"], found["evaluations"] = time.perf_counter() - started, report.evaluations
        told = [
            f"{f.rule} {f.cause}".strip() for f in report.findings if f.verdict in ("fails", "suspect", "undecided")
        ]
        found["found"] = ", ".join(dict.fromkeys(told)) or "-"
    found["copies"] = peak.seen() / size
    found["share"] = peak.seen() + size
    return found


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _apart(name: str, kind: str, fault: str, device: str) -> dict[str, Any] | None:
    """One figure, in a process of its own; None where it does not end in time. Small blocks of memory are given back
    there, so that a peak is what was in use."""
    words = [sys.executable, __file__, "--measure", name, kind, fault, device]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=MOST, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--device", default="cpu")
    words.add_argument("--only", default="", help="names, by commas")
    words.add_argument("--kinds", default="quick,full")
    words.add_argument("--faults", action="store_true", help="with each kind of fault too")
    words.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.measure:
        print(json.dumps(measure(*asked.measure)))
        return
    print(
        f"### What a check-up costs at real size ({asked.device}; targets: 40 steps, with a fault 80; 1.25 copies, full 3)\n"
    )
    print(
        "| model | parameters | fault | a step: s, copies | effort | evaluations | steps in time | extra copies | peak over a step's | found |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in [name for name in asked.only.split(",") if name] or SMALL:
        for fault in FAULTS if asked.faults else FAULTS[:1]:
            step = _apart(name, "step", fault, asked.device)
            for kind in asked.kinds.split(","):
                made = _apart(name, kind, fault, asked.device)
                print(f"| {name} | {_row(step, made, fault, kind)} |", flush=True)
    print()


def _row(step: dict[str, Any] | None, made: dict[str, Any] | None, fault: str, kind: str) -> str:
    if step is None or made is None:
        return f"| {fault} | | {kind} | did not end | | | | "
    cells = (
        f"{made['parameters'] / 1e6:.1f} M",
        fault or "-",
        f"{step['seconds']:.2f}, {step['copies']:.2f}",
        kind,
        str(made["evaluations"]),
        f"{made['seconds'] / step['seconds']:.0f}",
        f"{made['copies'] - step['copies']:.2f}",
        f"{made['share'] / step['share']:.2f}",
        made["found"],
    )
    return " | ".join(cells)


if __name__ == "__main__":
    main()
