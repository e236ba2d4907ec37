"""Custom autograd functions and graphs cut by accident, in PyTorch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import wellposed as wp
from corpus.case import Case, cases

N, D, H, C = 24, 7, 10, 4


def function(name, forward, backward):
    """An autograd.Function of one tensor from y = forward(x) and backward(x, y, g)."""

    def remember(ctx, x):
        y = forward(x)
        ctx.save_for_backward(x, y)
        return y

    parts = {
        "forward": staticmethod(remember),
        "backward": staticmethod(lambda ctx, g: backward(*ctx.saved_tensors, g)),
    }
    return type(name, (torch.autograd.Function,), parts).apply


class Net(nn.Module):
    def __init__(self, middle, width=H):
        super().__init__()
        self.first, self.second = nn.Linear(D, width), nn.Linear(width, C)
        self.middle = middle

    def forward(self, x):
        return self.second(self.middle(self.first(x)))


def problem(model, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(N, D, generator=generator), torch.randint(C, (N,), generator=generator)
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y))


def activation(fault, seed):
    """Swish, tanh, GELU, leaky ReLU, clamp by hand."""
    torch.manual_seed(seed)
    sigmoid = torch.sigmoid

    def swish(x, y, g):
        s = sigmoid(x)
        d = s * (1 + x * (1 - s))
        return {
            "grad_output ignored": d,
            "grad_output ignored, averaged": d / N,
            "swish without its second term": g * s,
            "swish' at the output": g * sigmoid(y) * (1 + y * (1 - sigmoid(y))),
            "sign": -g * d,
            "factor from a leftover": 1.1 * g * d,
            "relu' instead of swish'": g * (x > 0),
            "last column not written": g * d * torch.cat([g.new_ones(H - 1), g.new_zeros(1)]),
            "gradient transposed": (g * d) if g.shape[0] != g.shape[1] else (g * d).T,
            "returned in reverse order": (g * d).flip(0),
        }.get(fault, g * d)

    return problem(Net(function("Swish", lambda x: x * sigmoid(x), swish)), seed)


def tanh(fault, seed):
    torch.manual_seed(seed)

    def backward(x, y, g):
        return g * {
            "tanh' without the square": 1 - y,
            "tanh' of tanh": 1 - torch.tanh(y) ** 2,
            "tanh' from the wrong saved tensor": 1 - x**2,
        }.get(fault, 1 - y**2)

    return problem(Net(function("Tanh", torch.tanh, backward)), seed)


def gelu(fault, seed):
    torch.manual_seed(seed)

    def backward(x, y, g):
        d = 0.5 * (1 + torch.erf(x / 2**0.5))
        density = torch.exp(-0.5 * x**2) / (2 * torch.pi) ** 0.5
        return g * {"gelu's density left out": d, "gelu's density without x": d + density}.get(fault, d + x * density)

    return problem(Net(function("Gelu", F.gelu, backward)), seed)


def layernorm(fault, seed):
    torch.manual_seed(seed)

    def forward(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()

    def backward(x, y, g):
        std = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        mean, along = g.mean(-1, keepdim=True), y * (g * y).mean(-1, keepdim=True)
        return {
            "statistics taken as constants": g, "variance taken as a constant": g - mean, "mean taken as a constant": g - along,
        }.get(fault, g - mean - along) / std  # fmt: skip

    return problem(Net(function("LayerNorm", forward, backward)), seed)


def batchnorm(fault, seed):
    torch.manual_seed(seed)

    def forward(x):
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()

    def backward(x, y, g):
        std = (x.var(0, unbiased=False) + 1e-5).sqrt()
        mean, along = g.mean(0), y * (g * y).mean(0)
        return {"statistics taken as constants": g, "variance taken as a constant": g - mean}.get(
            fault, g - mean - along
        ) / std

    return problem(
        Net(nn.Sequential(nn.Tanh(), nn.Linear(H, H, bias=False), Middle(function("BatchNorm", forward, backward)))),
        seed,
    )


class Middle(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def linear(fault, seed):
    """A linear layer with a backward pass of its own."""
    torch.manual_seed(seed)

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, b):
            ctx.save_for_backward(x, w)
            return x @ w + b

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            gw, gb = x.T @ g, g.sum(0)
            if fault == "weight gradient transposed":
                gw = gw.T
            if fault == "bias averaged over the batch":
                gb = g.mean(0)
            if fault == "bias gradient forgotten":
                gb = torch.zeros_like(gb)
            if fault == "weight gradient divided twice":
                gw = gw / N
            if fault == "weight gradient doubled":
                gw = gw + x.T @ g
            if fault == "last row not accumulated":
                gw = torch.cat([gw[:-1], torch.zeros_like(gw[-1:])])
            if fault == "weight decay inside":
                gw = gw + 0.01 * w
            return (g @ w if fault == "W where W.T belongs" else g @ w.T), gw, gb

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.out = nn.Linear(D, H), nn.Linear(H, C)
            self.w, self.b = nn.Parameter(torch.randn(H, H) / H**0.5), nn.Parameter(torch.randn(H) / 5)

        def forward(self, x):
            return self.out(torch.tanh(Linear.apply(torch.tanh(self.first(x)), self.w, self.b)))

    return problem(Own(), seed)


def cut(fault, seed):
    """Part of the graph detached."""
    torch.manual_seed(seed)

    def middle(h):
        if fault == "gate detached":
            return h * torch.sigmoid(h.detach())
        if fault == "residual from .data":
            return torch.tanh(h) + h.data
        if fault == "computed under no_grad":
            with torch.no_grad():
                gate = torch.sigmoid(h)
            return torch.tanh(h) * gate
        if fault == "all of it detached":
            return torch.tanh(h.detach())
        return torch.tanh(h) + h * torch.sigmoid(h)

    return problem(Net(Middle(middle)), seed)


def embedding(fault, seed):
    torch.manual_seed(seed)

    class Lookup(torch.autograd.Function):
        @staticmethod
        def forward(ctx, table, index):
            ctx.save_for_backward(index)
            ctx.rows = table.shape[0]
            return table[index]

        @staticmethod
        def backward(ctx, g):
            (index,) = ctx.saved_tensors
            out = g.new_zeros(ctx.rows, g.shape[-1])
            flat, rows = index.reshape(-1), g.reshape(-1, g.shape[-1])
            if fault == "repeated words overwritten":
                out[flat] = rows
            else:
                out.index_add_(0, flat, rows)
            if fault == "first row taken for padding":
                out[0] = 0
            return out, None

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Parameter(torch.randn(20, 6)), nn.Linear(6, C)

        def forward(self, words):
            return self.out(Lookup.apply(self.table, words).mean(1))

    generator = torch.Generator().manual_seed(seed)
    words, y = torch.randint(16, (N, 3), generator=generator), torch.randint(C, (N,), generator=generator)
    return wp.TorchProblem(Bag(), nn.CrossEntropyLoss(), (words, y))


BEFORE = "first.weight first.bias"

CASES: list[Case] = [
    *cases("torch", activation, f"""
        grad_output ignored | Swish.backward {BEFORE} | ignored-cotangent | SeanNaren/warp-ctc!170
        grad_output ignored, averaged | Swish.backward {BEFORE} | ignored-cotangent | SeanNaren/warp-ctc!170
        swish without its second term | Swish.backward {BEFORE} | activation-derivative | SilasMarvin/dnns-from-scratch-in-zig#5
        swish' at the output | Swish.backward {BEFORE} | activation-derivative | benoitfragit/libBrain#78
        sign | Swish.backward {BEFORE} | sign | Kaixhin/Autoencoders#9
        factor from a leftover | Swish.backward {BEFORE} | scale | y0ast/VAE-Torch!5
        relu' instead of swish' | Swish.backward {BEFORE} | activation-derivative | iamtrask/Grokking-Deep-Learning!13
        last column not written | Swish.backward {BEFORE} | wrong-rows | Dao-AILab/flash-attention#355
        returned in reverse order | Swish.backward first.weight | permuted | apache/mxnet!5980
        """),
    *cases("torch", tanh, f"""
        tanh' without the square | Tanh.backward {BEFORE} | activation-derivative | microsoft/knossos-ksc!505
        tanh' of tanh | Tanh.backward {BEFORE} | activation-derivative | benoitfragit/libBrain#78
        tanh' from the wrong saved tensor | Tanh.backward {BEFORE} | activation-derivative | pytorch!22821
        """),
    *cases("torch", gelu, f"""
        gelu's density left out | Gelu.backward {BEFORE} | activation-derivative | microsoft/knossos-ksc!505
        gelu's density without x | Gelu.backward {BEFORE} | activation-derivative | microsoft/knossos-ksc!505
        """),
    *cases("torch", layernorm, f"""
        statistics taken as constants | LayerNorm.backward {BEFORE} | batch-statistics | flagos-ai/FlagGems#5392
        variance taken as a constant | LayerNorm.backward {BEFORE} | batch-statistics | happynear/AMSoftmax#1
        mean taken as a constant | LayerNorm.backward {BEFORE} | batch-statistics | KonduitAI/deeplearning4j!41
        """),
    *cases("torch", batchnorm, f"""
        statistics taken as constants | BatchNorm.backward {BEFORE} middle.1.weight | batch-statistics | KonduitAI/deeplearning4j!41
        variance taken as a constant | BatchNorm.backward {BEFORE} middle.1.weight | batch-statistics | KonduitAI/deeplearning4j!41
        """),
    *cases("torch", linear, f"""
        weight gradient transposed | Linear.backward w | transposed | iamtrask/Grokking-Deep-Learning!22
        bias averaged over the batch | Linear.backward b | mean-or-sum | hunkim/DeepLearningZeroToAll#173
        bias gradient forgotten | Linear.backward b | zero | CS231n assignment 2
        weight gradient divided twice | Linear.backward w | mean-or-sum | hunkim/DeepLearningZeroToAll#173
        weight gradient doubled | Linear.backward w | scale | karpathy/llm.c!548
        last row not accumulated | Linear.backward w | wrong-rows | worldcoin/open-iris!225
        weight decay inside | Linear.backward w | extra-weight-decay | JWarmenhoven/Coursera-Machine-Learning#3
        W where W.T belongs | Linear.backward {BEFORE} | transposed | pulp-platform/pulp-trainlib#3
        """),
    *cases("torch", cut, f"""
        gate detached | {BEFORE} | left-out | queenie88/A-GCN#4
        residual from .data | {BEFORE} | left-out | queenie88/A-GCN#4
        computed under no_grad | {BEFORE} | left-out | queenie88/A-GCN#4
        all of it detached | {BEFORE} | detached | queenie88/A-GCN#4
        """),
    *cases("torch", embedding, """
        repeated words overwritten | Lookup.backward table | overwritten | HIPS/autograd#39
        first row taken for padding | Lookup.backward table | wrong-rows | pytorch#26302
        """),
]  # fmt: skip
