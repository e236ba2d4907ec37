"""Planted vanishing and exploding: networks whose fault is known, and where it lies.

`cases()` yields `Case`s. What a uniform case does to the gradient is measured here by autograd alone: its gain is found by bisection until
the gradient of the first layer's pre-activations over the last hidden layer's is the factor asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(0.1), "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "softsign": nn.Softsign, "linear": nn.Identity,
}  # fmt: skip
FEATURES, CLASSES, ROWS = 24, 5, 64


@dataclass(frozen=True)
class Case:
    """`rules` are the rules of which one must speak; `where` the layers of which one must be named ("" where the fault is everywhere)."""

    name: str
    problem: wp.TorchProblem
    rules: tuple[str, ...]
    where: tuple[str, ...] = ()


def _data(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(ROWS, *shape, generator=draw), torch.arange(ROWS) % CLASSES


def _problem(model: nn.Module, seed: int, *shape: int) -> wp.TorchProblem:
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), _data(seed, *(shape or (FEATURES,))))


def stack(depth: int, width: int, activation: str, seed: int, gain: float = 1.0) -> nn.Sequential:
    """Linear layers of variance gain^2 / fan_in without bias, each followed by the activation, and a head."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for k in range(depth):
        layers += [nn.Linear(FEATURES if k == 0 else width, width), ACTIVATIONS[activation]()]
    model = nn.Sequential(*layers, nn.Linear(width, CLASSES))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, gain / module.in_features**0.5)
            nn.init.zeros_(module.bias)
    return model


def ratio(model: nn.Sequential, seed: int) -> float:
    """The norm of the gradient at the first layer's output over that at the last hidden layer's."""
    x, y = _data(seed, FEATURES)
    seen = []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear):
            seen.append(x)
    first, last = torch.autograd.grad(F.cross_entropy(x, y), [seen[0], seen[-2]])
    return float(first.double().norm() / last.double().norm())


def balanced(depth: int, width: int, activation: str, seed: int) -> nn.Sequential | None:
    """The stack whose gain makes that ratio 1, by bisection; None where no gain does."""
    return _tuned(depth, width, activation, seed, 1.0)


def _tuned(depth: int, width: int, activation: str, seed: int, target: float) -> nn.Sequential | None:
    low, high = 0.02, 8.0
    if (
        not ratio(stack(depth, width, activation, seed, low), seed)
        < target
        < ratio(stack(depth, width, activation, seed, high), seed)
    ):
        return None
    for _ in range(18):
        middle = (low * high) ** 0.5
        below = ratio(stack(depth, width, activation, seed, middle), seed) < target
        low, high = (middle, high) if below else (low, middle)
    model = stack(depth, width, activation, seed, high)
    got = ratio(model, seed)
    return model if 0.3 * target < got < 3 * target else None


def _uniform() -> Iterator[Case]:
    for activation in ACTIVATIONS:
        for depth in (8, 20, 50):
            for target in (1e-4, 1e-7, 1e4, 1e7):
                model = _tuned(depth, 64, activation, depth, target)
                if model is not None:
                    rules = ("WP201",) if target < 1 else ("WP202",)
                    yield Case(f"{activation}, {depth} layers, gradient x {target:g}", _problem(model, depth), rules)


def _one_layer() -> Iterator[Case]:
    for number, activation in enumerate(("relu", "leaky", "gelu", "elu", "tanh", "linear", "silu")):
        for depth in (6, 12, 24):
            for k in sorted({1, depth // 2, depth - 1}):
                for factor in (1e-5, 1e5) if activation not in ("tanh", "silu", "gelu", "elu") else (1e-5,):
                    model = balanced(depth, 64, activation, 100 * number + depth)
                    if model is None:
                        continue
                    with torch.no_grad():
                        model[2 * k].weight.mul_(factor)
                    rules = ("WP201",) if factor < 1 else ("WP202",)
                    yield Case(
                        f"{activation}, {depth} layers, layer {k} x {factor:g}",
                        _problem(model, depth),
                        rules,
                        (str(2 * k),),
                    )


def _odd_activation() -> Iterator[Case]:
    """One layer of a ReLU network is dead, or one of a tanh network saturated."""
    for depth in (6, 12):
        for k in (1, depth // 2, depth - 2):
            model = balanced(depth, 64, "relu", depth + k)
            if model is not None:
                with torch.no_grad():
                    model[2 * k].bias.fill_(-30.0)
                yield Case(
                    f"relu, {depth} layers, layer {k} dead",
                    _problem(model, depth),
                    ("WP201", "WP203", "WP204"),
                    (str(2 * k),),
                )
            model = balanced(depth, 64, "tanh", depth + k)
            if model is not None:
                with torch.no_grad():
                    model[2 * k].weight.mul_(100.0)
                yield Case(
                    f"tanh, {depth} layers, layer {k} saturated", _problem(model, depth), ("WP205",), (str(2 * k),)
                )
            model = balanced(depth, 64, "relu", depth + 2 * k)
            if model is not None:
                with torch.no_grad():
                    model[2 * k + 1] = nn.Sigmoid()
                    model[2 * k].weight.mul_(60.0)
                rules = ("WP201", "WP203", "WP205")
                yield Case(
                    f"relu, {depth} layers, layer {k} a saturated sigmoid", _problem(model, depth), rules, (str(2 * k),)
                )


def _fans() -> Iterator[Case]:
    """Bottlenecks initialised by the other side's fan: wide layers read narrow ones."""
    for depth in (8, 16):
        for wide, narrow in ((256, 8), (512, 32)):
            for mode in ("fan_out", "constant"):
                torch.manual_seed(depth)
                layers: list[nn.Module] = []
                width = FEATURES
                for k in range(depth):
                    after = narrow if k % 2 else wide
                    layers += [nn.Linear(width, after), nn.ReLU()]
                    width = after
                model = nn.Sequential(*layers, nn.Linear(width, CLASSES))
                for module in model:
                    if isinstance(module, nn.Linear):
                        deviation = (2 / module.out_features) ** 0.5 if mode == "fan_out" else 0.01
                        nn.init.normal_(module.weight, 0.0, deviation)
                        nn.init.zeros_(module.bias)
                size = ratio(model, depth)
                if not 1e-3 < size < 1e3:
                    yield Case(
                        f"{wide}-{narrow}, {depth} layers, {mode}",
                        _problem(model, depth),
                        ("WP201",) if size < 1 else ("WP202",),
                    )


class _Stream(nn.Module):
    """Residual blocks without normalisation: the stream grows."""

    def __init__(self, blocks: int, gain: float) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(FEATURES, 64), nn.Linear(64, CLASSES)
        self.blocks = nn.ModuleList(nn.Linear(64, 64) for _ in range(blocks))
        for block in self.blocks:
            nn.init.normal_(block.weight, 0.0, gain * (2 / 64) ** 0.5)
            nn.init.zeros_(block.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.head(x)


def _residual() -> Iterator[Case]:
    for blocks, gain in ((30, 1.0), (60, 1.0), (20, 2.0), (40, 1.5)):
        torch.manual_seed(blocks)
        yield Case(
            f"residual, {blocks} blocks, gain {gain}", _problem(_Stream(blocks, gain), blocks), ("WP202", "WP203")
        )


class _Plain(nn.Module):
    def __init__(self, depth: int, scale: float, k: int | None, factor: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if n == 0 else 16, 16, 3, padding=1) for n in range(depth))
        self.head = nn.Linear(16, CLASSES)
        for n, conv in enumerate(self.convs):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            conv.weight.data.mul_(factor if n == k else scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.head(x.mean((2, 3)))


def _convolutional() -> Iterator[Case]:
    for depth in (10, 20):
        for scale, rule in ((0.35, "WP201"), (3.5, "WP202")):
            torch.manual_seed(depth)
            yield Case(
                f"conv, {depth} layers, x {scale}", _problem(_Plain(depth, scale, None, 1.0), depth, 3, 10, 10), (rule,)
            )
        for k in (1, depth // 2, depth - 1):
            for factor, rule in ((1e-5, "WP201"), (1e5, "WP202")):
                torch.manual_seed(depth + k)
                model = _Plain(depth, 1.08, k, factor)
                yield Case(
                    f"conv, {depth} layers, layer {k} x {factor:g}",
                    _problem(model, depth, 3, 10, 10),
                    (rule,),
                    (f"convs.{k}",),
                )


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], radius: float) -> None:
        super().__init__()
        self.body, self.head = kind(FEATURES, 48, batch_first=True), nn.Linear(48, CLASSES)
        nn.init.orthogonal_(self.body.weight_hh_l0)
        self.body.weight_hh_l0.data.mul_(radius)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)[0][:, -1])


class _Loop(nn.Module):
    """The same, written by hand."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.read, self.turn, self.head = nn.Linear(FEATURES, 48), nn.Linear(48, 48, bias=False), nn.Linear(48, CLASSES)
        nn.init.orthogonal_(self.turn.weight)
        self.turn.weight.data.mul_(radius)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(len(x), 48)
        for step in x.unbind(1):
            h = torch.tanh(self.read(step) + self.turn(h))
        return self.head(h)


def _over_time() -> Iterator[Case]:
    for steps in (60, 150):
        for kind in (nn.RNN, nn.LSTM, nn.GRU):
            torch.manual_seed(steps)
            yield Case(
                f"{kind.__name__}, {steps} steps, recurrence 0.1",
                _problem(_Recurrent(kind, 0.1), steps, steps, FEATURES),
                ("WP208",),
                ("body",),
            )
        torch.manual_seed(steps)
        yield Case(
            f"RNN, {steps} steps, recurrence 8",
            _problem(_Recurrent(nn.RNN, 8.0), steps, steps, FEATURES),
            ("WP208",),
            ("body",),
        )
        for radius in (0.2, 8.0):
            torch.manual_seed(steps)
            yield Case(
                f"loop, {steps} steps, recurrence {radius}",
                _problem(_Loop(radius), steps, steps, FEATURES),
                ("WP208",),
                ("turn",),
            )


def _collapsed() -> Iterator[Case]:
    """Biases so large that all inputs end up alike."""
    for activation in ("tanh", "sigmoid", "relu"):
        for depth in (10, 20):
            model = stack(depth, 64, activation, depth, 0.7)
            for module in model:
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.bias, 0.0, 2.0)
            yield Case(
                f"{activation}, {depth} layers, biases of 2", _problem(model, depth), ("WP201", "WP203", "WP206")
            )


def cases() -> Iterator[Case]:
    for family in (_uniform, _one_layer, _odd_activation, _fans, _residual, _convolutional, _over_time, _collapsed):
        yield from family()
