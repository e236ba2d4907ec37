"""Layers of every kind with a fan, what they are called with, and the gate or block of their output whose size it sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

ROWS, DRAWS = 512, 64


@dataclass(frozen=True)
class Case:
    """`build` makes the layer; `outputs` are the pre-activations that the weight named `weight` alone makes of standard normal inputs."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], torch.Tensor]
    weight: str = "weight"
    outputs: Callable[[nn.Module, torch.Tensor], torch.Tensor] | None = None
    shown: bool = False  # whether the fan is read from a call


class Experts(nn.Module):
    """A mixture's experts as one tensor, in either order of axes, at work by bmm, einsum or slice by slice."""

    def __init__(self, experts: int, into: int, out: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(
            torch.randn(experts, out, into) if how == "linear" else torch.empty(experts, into, out)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "bmm":
            return torch.bmm(x.expand(self.weight.shape[0], -1, -1), self.weight)
        if self.how == "einsum":
            return torch.einsum("ni,eio->eno", x, self.weight)
        return torch.stack([F.linear(x, self.weight[expert]) for expert in range(self.weight.shape[0])])


class Conv1D(nn.Module):
    """GPT-2's linear layer as Hugging Face writes it: the weight is [in, out]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x, self.weight)


class Functional(nn.Module):
    """A matrix of one's own, at work by an expression."""

    def __init__(
        self, shape: tuple[int, ...], expression: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.expression = expression

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.expression(x, self.weight)


def _normal(*shape: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.randn(*shape)


def _linear() -> Iterator[Case]:
    for into, out in ((16, 64), (64, 16), (100, 7), (7, 100), (256, 256)):
        yield Case(f"Linear({into}, {out})", lambda into=into, out=out: nn.Linear(into, out), _normal(ROWS, into))
        yield Case(f"Conv1D({into}, {out})", lambda into=into, out=out: Conv1D(out, into), _normal(ROWS, into))
        for name, shape, expression in (
            ("x @ W", (into, out), lambda x, w: x @ w),
            ("x @ W.T", (out, into), lambda x, w: x @ w.T),
            ("einsum oi", (out, into), lambda x, w: torch.einsum("ni,oi->no", x, w)),
            ("einsum io", (into, out), lambda x, w: torch.einsum("...i,io->...o", x, w)),
        ):
            yield Case(
                f"{name} {into} to {out}",
                lambda s=shape, e=expression: Functional(s, e),
                _normal(ROWS, into),
                shown=True,
            )
    for into, out in ((5, 9), (12, 30)):
        yield Case(
            f"Bilinear({into}, {into}, {out})", lambda into=into, out=out: nn.Bilinear(into, into, out), _normal(ROWS * 8, into),
            outputs=lambda layer, x: layer(x, torch.randn_like(x)),
        )  # fmt: skip
    for rows, width in ((50, 8), (500, 32)):
        yield Case(
            f"Embedding({rows}, {width})",
            lambda r=rows, w=width: nn.Embedding(r, w),
            lambda r=rows: torch.randint(r, (ROWS,)),
        )
    yield Case(
        "per-head projection",
        lambda: Functional((48, 4, 12), lambda x, w: torch.einsum("nd,dhk->nhk", x, w)),
        _normal(ROWS, 48),
        shown=True,
    )
    for experts, how in itertools.product((2, 5), ("bmm", "einsum", "linear")):
        yield Case(
            f"{experts} experts by {how}", lambda e=experts, h=how: Experts(e, 24, 40, h), _normal(ROWS, 24), shown=True
        )


def _convolutions() -> Iterator[Case]:
    kinds = {1: (nn.Conv1d, nn.ConvTranspose1d), 2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
    for dims, transposed, kernel, stride, dilation, groups, padded in itertools.product(
        (1, 2, 3), (False, True), (1, 3, 4), (1, 2), (1, 2), (1, 4), (False, True)
    ):
        if dims == 3 and (dilation == 2 or kernel == 4):
            continue
        size = {1: 24, 2: 9, 3: 6}[dims]
        options = {"stride": stride, "dilation": dilation, "groups": groups, "padding": kernel // 2 if padded else 0}
        kind = kinds[dims][transposed]
        rows = {1: 128, 2: 64, 3: 48}[dims]
        text = ", ".join(f"{key}={value}" for key, value in options.items())
        yield Case(
            f"{kind.__name__}(8, 12, {kernel}, {text})", lambda k=kind, n=kernel, o=options: k(8, 12, n, **o),
            _normal(rows, 8, *[size] * dims),
        )  # fmt: skip
    for mode in ("zeros", "reflect", "replicate", "circular"):
        for kernel in (3, 5):
            yield Case(
                f"Conv2d(8, 12, {kernel}, padding='same', {mode})",
                lambda k=kernel, m=mode: nn.Conv2d(8, 12, k, padding="same", padding_mode=m), _normal(64, 8, 8, 8),
            )  # fmt: skip
    for extra in (0, 1):
        yield Case(
            f"ConvTranspose2d(8, 12, 3, 2, 1, {extra})",
            lambda e=extra: nn.ConvTranspose2d(8, 12, 3, 2, 1, e),
            _normal(64, 8, 7, 7),
        )
    yield Case("depthwise", lambda: nn.Conv2d(24, 24, 5, groups=24), _normal(128, 24, 9, 9))
    yield Case("patches", lambda: nn.Conv2d(3, 64, 8, 8), _normal(128, 3, 32, 32))


def _gates() -> Iterator[Case]:
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        for into, hidden, both in ((20, 30, False), (64, 16, True), (9, 50, True)):
            for suffix in ("", "_reverse")[: 1 + both]:
                for part, size in (("ih", into), ("hh", hidden)):
                    weight = f"weight_{part}_l0{suffix}"
                    yield Case(
                        f"{kind.__name__}({into}, {hidden}).{weight}",
                        lambda k=kind, i=into, h=hidden, b=both: k(i, h, bidirectional=b), _normal(ROWS, size), weight,
                        lambda layer, x, w=weight: x @ layer.get_parameter(w).T,
                    )  # fmt: skip
    for kind in (nn.LSTMCell, nn.GRUCell):
        for weight, size in (("weight_ih", 20), ("weight_hh", 30)):
            yield Case(
                f"{kind.__name__}(20, 30).{weight}", lambda k=kind: k(20, 30), _normal(ROWS, size), weight,
                lambda layer, x, w=weight: x @ layer.get_parameter(w).T,
            )  # fmt: skip
    yield Case(
        "LSTM(20, 30, proj_size=8).weight_hr_l0", lambda: nn.LSTM(20, 30, proj_size=8), _normal(ROWS, 30), "weight_hr_l0",
        lambda layer, x: x @ layer.weight_hr_l0.T,
    )  # fmt: skip
    for width, sizes in ((32, {}), (48, {"kdim": 20, "vdim": 36})):
        packed = ("in_proj_weight",) if not sizes else ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        for weight in (*packed, "out_proj.weight"):
            size = sizes.get(f"{weight[0]}dim", width) if weight != "out_proj.weight" else width
            yield Case(
                f"MultiheadAttention({width}).{weight}", lambda w=width, s=sizes: nn.MultiheadAttention(w, 4, **s),
                _normal(ROWS, size), weight, lambda layer, x, w=weight: x @ layer.get_parameter(w).T,
            )  # fmt: skip


def cases() -> list[Case]:
    return [*_linear(), *_convolutions(), *_gates()]


def measured(case: Case, fan_in: float, draws: int = DRAWS) -> float:
    """The mean square of what weights of variance 1 / fan_in make of standard normal inputs, over that of the inputs: 1 where fan_in is right.

    Weights of random sign and equal size, so that only the inputs are a sample.
    """
    layer = case.build()
    total = 0.0
    with torch.no_grad():
        for _ in range(draws):
            for name, parameter in layer.named_parameters():
                if name == case.weight:
                    parameter.copy_(torch.randint(2, parameter.shape) * 2.0 - 1).mul_(fan_in**-0.5)
                elif "bias" in name:
                    parameter.zero_()
            x = case.inputs()
            out = case.outputs(layer, x) if case.outputs else layer(x)
            size = x.double().square().mean().item() if x.is_floating_point() else 1.0
            total += out.double().square().mean().item() / size / draws
    return total
