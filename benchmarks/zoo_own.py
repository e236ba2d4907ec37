"""Known-good set-ups built here: recurrent, adversarial, autoencoding, residual with zeros, normalised and deep, as they are commonly written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp


def _draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _labels(rows: int, classes: int = 4) -> torch.Tensor:
    return torch.arange(rows) % classes


def _classifier(model: nn.Module, x: torch.Tensor) -> wp.TorchProblem:
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, _labels(len(x))))


def _he(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def _xavier(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(module.bias)
    return model


def _mlp(
    depth: int, width: int, activation: Callable[[], nn.Module], norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(depth):
        layers += [nn.Linear(16 if k == 0 else width, width), *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


class _Last(nn.Module):
    """A recurrent network whose last output is classified."""

    def __init__(self, kind: type[nn.RNNBase], every: bool = False, **options: Any) -> None:
        super().__init__()
        self.body, self.every = kind(8, 32, batch_first=True, **options), every
        self.head = nn.Linear(32 * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.body(x)
        return self.head(hidden).transpose(1, 2) if self.every else self.head(hidden[:, -1])


class _Cells(nn.Module):
    def __init__(self, cell: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.head = cell(8, 32), nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: Any = None
        outputs = []
        for step in x.unbind(1):
            state = self.cell(step, state)
            outputs.append(self.head(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs, 2)


def _sequence(model: nn.Module, seed: int, steps: int = 20, every: bool = False) -> wp.TorchProblem:
    x = _draw(seed, 16, steps, 8)
    y = _labels(16)[:, None].expand(16, steps) if every else _labels(16)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y))


class _Residual(nn.Module):
    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.one, self.two, self.kind = nn.Linear(width, width), nn.Linear(width, width), kind
        self.norm = nn.LayerNorm(width) if "norm" in kind else nn.Identity()
        self.scale = nn.Parameter(torch.zeros(1) if kind == "rezero" else torch.full((width,), 1e-5))
        if kind == "fixup":
            nn.init.zeros_(self.two.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.two(F.gelu(self.one(self.norm(x))))
        return x + (self.scale * out if self.kind in ("rezero", "norm layerscale") else out)


def _residual(kind: str, blocks: int) -> nn.Module:
    model = nn.Sequential(
        nn.Linear(16, 64), *[_Residual(64, kind) for _ in range(blocks)], nn.LayerNorm(64), nn.Linear(64, 4)
    )
    if kind == "fixup":
        nn.init.zeros_(model[-1].weight)
    return model


class _Convolutional(nn.Module):
    """Convolution, normalisation, ReLU, repeated; `zero` starts each residual block at nothing."""

    def __init__(self, blocks: int, skip: bool, zero: bool = False) -> None:
        super().__init__()
        self.stem, self.skip = nn.Conv2d(3, 16, 3, padding=1), skip
        self.convs = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(blocks))
        self.head = nn.Linear(16, 4)
        if zero:
            for norm in self.norms:
                nn.init.zeros_(norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        for conv, norm in zip(self.convs, self.norms, strict=True):
            out = norm(conv(x))
            x = torch.relu(x + out) if self.skip else torch.relu(out)
        return self.head(x.mean((2, 3)))


class _Autoencoder(nn.Module):
    def __init__(self, variational: bool) -> None:
        super().__init__()
        self.variational = variational
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.variational else mean
        return self.decoder(code), mean, log_variance


def _autoencoder(seed: int, variational: bool) -> wp.TorchProblem:
    def loss(output: Any, target: torch.Tensor) -> torch.Tensor:
        guess, mean, log_variance = output
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return F.mse_loss(guess, target) + (1e-2 * kl if variational else 0.0)

    x = _draw(seed, 32, 64)
    return wp.TorchProblem(_Autoencoder(variational), loss, (x, x))


def _unet(seed: int) -> wp.TorchProblem:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(
                [nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)]
            )
            self.norm = nn.ModuleList([nn.GroupNorm(4, 16), nn.GroupNorm(4, 32), nn.GroupNorm(4, 64)])
            self.up = nn.ModuleList(
                [nn.ConvTranspose2d(64, 32, 2, 2), nn.ConvTranspose2d(64, 16, 2, 2), nn.ConvTranspose2d(32, 16, 2, 2)]
            )
            self.head = nn.Conv2d(16, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = []
            for conv, norm in zip(self.down, self.norm, strict=True):
                x = F.silu(norm(conv(x)))
                kept.append(x)
            x = F.silu(self.up[0](kept[2]))
            x = F.silu(self.up[1](torch.cat([x, kept[1]], 1)))
            return self.head(F.silu(self.up[2](torch.cat([x, kept[0]], 1))))

    x = _draw(seed, 8, 3, 32, 32)
    return wp.TorchProblem(UNet(), nn.MSELoss(), (x, x.roll(1, 0)))


def _gan(seed: int, which: str) -> wp.TorchProblem:
    generator = nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 1, 4, 1, 0),
    )  # fmt: skip
    for module in [*generator.modules(), *critic.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)  # Radford 2016
    noise, real = _draw(seed, 16, 16, 1, 1), torch.tanh(_draw(seed + 1, 16, 3, 16, 16))
    bce = F.binary_cross_entropy_with_logits
    if which == "generator":
        critic.requires_grad_(False)
        return wp.TorchProblem(generator, lambda fake, t: bce(critic(fake).flatten(), t), (noise, torch.ones(16)))
    fake = generator(noise).detach()
    return wp.TorchProblem(
        critic, lambda s, t: bce(s.flatten(), t), (torch.cat([real, fake]), torch.tensor([1.0] * 16 + [0.0] * 16))
    )


class _Siren(nn.Module):
    """Sitzmann 2020, omega 30."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 128), *[nn.Linear(128, 128) for _ in range(4)]])
        self.head = nn.Linear(128, 1)
        nn.init.uniform_(self.layers[0].weight, -1 / 2, 1 / 2)
        for layer in [*self.layers[1:], self.head]:
            nn.init.uniform_(layer.weight, -((6 / 128) ** 0.5) / 30, (6 / 128) ** 0.5 / 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.head(x)


def _encoder(seed: int, norm_first: bool, layers: int) -> wp.TorchProblem:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            one = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)
            self.embed, self.body = nn.Linear(8, 32), nn.TransformerEncoder(one, layers, enable_nested_tensor=False)
            self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(self.body(self.embed(x)).mean(1)))

    return _classifier(Encoder(), _draw(seed, 16, 12, 8))


def _embedding(seed: int) -> wp.TorchProblem:
    model = nn.Sequential(nn.Embedding(100, 32), nn.Flatten(), nn.Linear(32 * 5, 64), nn.ReLU(), nn.Linear(64, 4))
    tokens = torch.randint(100, (32, 5), generator=torch.Generator().manual_seed(seed))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (tokens, _labels(32)))


def _selu(depth: int) -> nn.Module:
    model = _mlp(depth, 64, nn.SELU)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
    return model


def _spectral(seed: int) -> wp.TorchProblem:
    layers = [nn.utils.parametrizations.spectral_norm(nn.Linear(16 if k == 0 else 64, 64)) for k in range(3)]
    model = nn.Sequential(*[m for layer in layers for m in (layer, nn.LeakyReLU(0.2))], nn.Linear(64, 4))
    return _classifier(model, _draw(seed, 32, 16))


def _seeded(make: Callable[[int], wp.TorchProblem]) -> Callable[[int], wp.TorchProblem]:
    def build(seed: int) -> wp.TorchProblem:
        torch.manual_seed(seed)
        return make(seed)

    return build


_CASES: dict[str, Callable[[int], wp.TorchProblem]] = {
    "mlp relu 3, default": lambda s: _classifier(_mlp(3, 64, nn.ReLU), _draw(s, 32, 16)),
    "mlp tanh 4, default": lambda s: _classifier(_mlp(4, 64, nn.Tanh), _draw(s, 32, 16)),
    "mlp gelu 3, default": lambda s: _classifier(_mlp(3, 64, nn.GELU), _draw(s, 32, 16)),
    "mlp sigmoid 1, default": lambda s: _classifier(_mlp(1, 64, nn.Sigmoid), _draw(s, 32, 16)),
    "mlp relu 20, he": lambda s: _classifier(_he(_mlp(20, 128, nn.ReLU)), _draw(s, 32, 16)),
    "mlp leaky 20, he": lambda s: _classifier(_he(_mlp(20, 128, lambda: nn.LeakyReLU(0.1))), _draw(s, 32, 16)),
    "mlp tanh 10, xavier": lambda s: _classifier(_xavier(_mlp(10, 64, nn.Tanh)), _draw(s, 32, 16)),
    "mlp selu 15": lambda s: _classifier(_selu(15), _draw(s, 32, 16)),
    "mlp batch norm 10": lambda s: _classifier(_mlp(10, 64, nn.ReLU, nn.BatchNorm1d), _draw(s, 32, 16)),
    "mlp layer norm 20": lambda s: _classifier(_mlp(20, 64, nn.ReLU, nn.LayerNorm), _draw(s, 32, 16)),
    "mlp linear 3": lambda s: _classifier(_mlp(3, 64, nn.Identity), _draw(s, 32, 16)),
    "residual layer norm 12": lambda s: _classifier(_residual("norm", 12), _draw(s, 32, 16)),
    "residual layerscale 24": lambda s: _classifier(_residual("norm layerscale", 24), _draw(s, 32, 16)),
    "residual rezero 24": lambda s: _classifier(_residual("rezero", 24), _draw(s, 32, 16)),
    "residual fixup 16": lambda s: _classifier(_residual("fixup", 16), _draw(s, 32, 16)),
    "conv bn 8": lambda s: _classifier(_he(_Convolutional(8, False)), _draw(s, 16, 3, 16, 16)),
    "conv bn residual 12": lambda s: _classifier(_Convolutional(12, True), _draw(s, 16, 3, 16, 16)),
    "conv bn residual zero 12": lambda s: _classifier(_Convolutional(12, True, True), _draw(s, 16, 3, 16, 16)),
    "lstm, last": lambda s: _sequence(_Last(nn.LSTM), s),
    "lstm, every step": lambda s: _sequence(_Last(nn.LSTM, every=True), s, every=True),
    "lstm, two ways, two layers": lambda s: _sequence(_Last(nn.LSTM, num_layers=2, bidirectional=True), s),
    "gru, last": lambda s: _sequence(_Last(nn.GRU), s),
    "gru, every step, 50 steps": lambda s: _sequence(_Last(nn.GRU, every=True), s, 50, every=True),
    "rnn, every step": lambda s: _sequence(_Last(nn.RNN, every=True), s, every=True),
    "lstm cells": lambda s: _sequence(_Cells(nn.LSTMCell), s, every=True),
    "gru cells": lambda s: _sequence(_Cells(nn.GRUCell), s, every=True),
    "rnn cells": lambda s: _sequence(_Cells(nn.RNNCell), s, every=True),
    "autoencoder": lambda s: _autoencoder(s, False),
    "variational autoencoder": lambda s: _autoencoder(s, True),
    "u-net": _unet,
    "gan, generator": lambda s: _gan(s, "generator"),
    "gan, critic": lambda s: _gan(s, "critic"),
    "siren": lambda s: wp.TorchProblem(_Siren(), nn.MSELoss(), (torch.rand(64, 2, generator=torch.Generator().manual_seed(s)) * 2 - 1, _draw(s, 64, 1))),
    "encoder, norm first, 6": lambda s: _encoder(s, True, 6),
    "encoder, norm last, 4": lambda s: _encoder(s, False, 4),
    "embedding": _embedding,
    "spectral norm": _spectral,
}  # fmt: skip

OWN: dict[str, Callable[[int], wp.TorchProblem]] = {f"own {name}": _seeded(make) for name, make in _CASES.items()}
