"""Wrong initial weights that people really write, planted in networks that are right without them.

`cases()` yields (kind, problem, where, factor): where the fault is ("" for everywhere) and the factor on the variance of that layer's
weights that it makes against He's rule (None where the fault is no factor).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp

Case = tuple[str, wp.TorchProblem, str, float | None]
Spoil = Callable[[nn.Module], float | None]


def he(model: nn.Module) -> nn.Module:
    """He's rule with the right fan for every layer, biases zero, the head by LeCun's."""
    weighted = [m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    for module in weighted:
        gain = 0.1 if module is weighted[-1] else 2.0
        nn.init.normal_(module.weight, std=(gain / wp.fan(module).fan_in) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return model


def mlp(
    activation: Callable[[], nn.Module] = nn.ReLU, widths: tuple[int, ...] = (64, 256, 96, 256, 64, 128, 64)
) -> nn.Module:
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(widths):
        layers += [nn.Linear(into, out), activation()]
    return he(nn.Sequential(*layers, nn.Linear(widths[-1], 10)))


def convolutional() -> nn.Module:
    return he(nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=8),
        nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.ConvTranspose2d(64, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 32, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 64, 10),
    ))  # fmt: skip


class Residual(nn.Module):
    """24 branches of two layers, each ending by 1 / sqrt(24)."""

    def __init__(self, count: int = 24, width: int = 48) -> None:
        super().__init__()
        self.first = nn.Linear(64, width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(count))
        self.head = nn.Linear(width, 10)
        he(self)
        with torch.no_grad():
            for layer in self.outer:
                layer.weight.mul_((1 / count / 2) ** 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            x = x + outer(F.relu(inner(x)))
        return self.head(x)


def flat(model: nn.Module) -> wp.TorchProblem:
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(128, 64), torch.randint(10, (128,))))


def pictures(model: nn.Module) -> wp.TorchProblem:
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(16, 3, 14, 14), torch.randint(10, (16,))))


def _scaled(name: str, factor: float) -> Spoil:
    def spoil(model: nn.Module) -> float:
        with torch.no_grad():
            model.get_parameter(f"{name}.weight").mul_(factor**0.5)
        return factor

    return spoil


def _counted(name: str, fan: Callable[[nn.Module], float]) -> Spoil:
    """One layer drawn by the same rule with another fan."""

    def spoil(model: nn.Module) -> float:
        module = model.get_submodule(name)
        right = wp.fan(module).fan_in
        return _scaled(name, right / fan(module))(model)

    return spoil


def _every(draw: Callable[[torch.Tensor], object]) -> Spoil:
    def spoil(model: nn.Module) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    draw(parameter)

    return spoil


def _one(name: str, draw: Callable[[torch.Tensor], object]) -> Spoil:
    def spoil(model: nn.Module) -> None:
        with torch.no_grad():
            draw(model.get_parameter(name))

    return spoil


def _copied(model: nn.Module) -> None:
    with torch.no_grad():
        for layer in list(model.inner)[1:]:
            layer.weight.copy_(model.inner[0].weight)


def _tiled(weight: torch.Tensor) -> None:
    weight.copy_(weight[: weight.shape[0] // 2].repeat(2, *[1] * (weight.dim() - 1)))


def _unscaled(model: nn.Module) -> None:
    with torch.no_grad():
        for layer in model.outer:
            layer.weight.mul_((24 * 2) ** 0.5)


FLAT: dict[str, tuple[Callable[[], nn.Module], Spoil, str]] = {
    "fan_out for fan_in": (mlp, _counted("2", lambda m: m.out_features), "2"),
    "a layer sixteen times too large": (mlp, _scaled("4", 256.0), "4"),
    "a layer a hundred times too small": (mlp, _scaled("6", 1e-4), "6"),
    "one layer forgotten: N(0, 1)": (mlp, _one("8.weight", lambda w: w.normal_()), "8"),
    "one layer N(0, 0.001^2)": (mlp, _one("8.weight", lambda w: w.normal_(std=0.001)), "8"),
    "deviation 2 / n for sqrt(2 / n)": (mlp, _counted("4", lambda m: m.in_features**2 / 2), "4"),
    "deviation 1 / n everywhere": (mlp, _every(lambda w: w.normal_(std=1 / w.shape[1])), ""),
    "N(0, 1) everywhere": (mlp, _every(lambda w: w.normal_()), ""),
    "N(0, 0.01^2) everywhere": (mlp, _every(lambda w: w.normal_(std=0.01)), ""),
    "N(0, 0.01^2) everywhere, tanh": (lambda: mlp(nn.Tanh), _every(lambda w: w.normal_(std=0.01)), ""),
    "U(0, 1) everywhere": (mlp, _every(lambda w: w.uniform_()), ""),
    "U(0, 1) everywhere, tanh": (lambda: mlp(nn.Tanh), _every(lambda w: w.uniform_()), ""),
    "U(-1, 1) everywhere": (mlp, _every(lambda w: w.uniform_(-1, 1)), ""),
    "zeros everywhere": (mlp, _every(lambda w: w.zero_()), ""),
    "constant 0.1 everywhere": (mlp, _every(lambda w: w.fill_(0.1)), ""),
    "a hidden layer of ones": (mlp, _one("4.weight", lambda w: w.fill_(1.0)), "4.weight"),
    "a hidden layer tiled from half of it": (mlp, _one("4.weight", _tiled), "4.weight"),
    "a hidden layer's rows all alike": (mlp, _one("6.weight", lambda w: w.copy_(w[:1].expand_as(w))), "6.weight"),
    "biases of 5 after He weights": (mlp, _one("2.bias", lambda b: b.fill_(50.0)), "2.bias"),
    "a bias drawn N(0, 100^2)": (mlp, _one("4.bias", lambda b: b.normal_(std=100.0)), "4.bias"),
    "a head ten times too large": (mlp, _scaled("12", 400.0), "loss"),
    "a head of N(0, 1)": (mlp, _one("12.weight", lambda w: w.normal_()), "loss"),
    "a head's bias of N(0, 10^2)": (mlp, _one("12.bias", lambda b: b.normal_(std=10.0)), "loss"),
    "He's gain squared, 30 layers": (lambda: mlp(widths=(64,) * 31), _every(lambda w: w.mul_(2**0.5)), ""),
    "LeCun's gain with ReLU, 30 layers": (lambda: mlp(widths=(64,) * 31), _every(lambda w: w.mul_(0.5**0.5)), ""),
    "PyTorch's default, 20 layers": (
        lambda: mlp(widths=(64,) * 21),
        _every(lambda w: w.normal_(std=(1 / 3 / w.shape[1]) ** 0.5)),
        "",
    ),
    "branches not scaled, 24 of them": (Residual, _unscaled, ""),
    "one branch a thousand times too large": (Residual, _scaled("outer.7", 1e8), ""),
    "layers that are copies of each other": (Residual, _copied, "inner.0.weight"),
}
PICTURES: dict[str, tuple[Callable[[], nn.Module], Spoil, str]] = {
    "a convolution's kernel left out": (convolutional, _counted("4", lambda m: m.in_channels), "4"),
    "groups left out": (convolutional, _counted("6", lambda m: m.in_channels * 9), "6"),
    "transposed: fan on the wrong side": (convolutional, _counted("10", lambda m: m.out_channels * 16), "10"),
    "transposed: stride left out": (convolutional, _counted("10", lambda m: m.in_channels * 16), "10"),
    "a convolution of N(0, 1)": (convolutional, _one("2.weight", lambda w: w.normal_()), "2"),
    "convolution, fan_out for fan_in": (convolutional, _counted("0", lambda m: m.out_channels * 9), "0"),
}


def cases(seeds: int = 3) -> Iterator[Case]:
    for kinds, problem in ((FLAT, flat), (PICTURES, pictures)):
        for kind, (build, spoil, where) in kinds.items():
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = build()
                spoil(model)
                factor = None
                if where.isdigit():
                    layer = model.get_submodule(where)
                    factor = float(layer.weight.detach().square().mean()) * wp.fan(layer).fan_in / 2
                yield kind, problem(model), where, factor


def healthy(seeds: int = 3) -> Iterator[tuple[str, wp.TorchProblem]]:
    """The same networks without a fault."""
    builds = {build for kinds in (FLAT, PICTURES) for build, _, _ in kinds.values()}
    for number, build in enumerate(builds):
        for seed in range(seeds):
            torch.manual_seed(seed)
            yield f"healthy {number}", (pictures if build is convolutional else flat)(build())
