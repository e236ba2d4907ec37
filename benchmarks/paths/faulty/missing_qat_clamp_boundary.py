# cause: missing-term
# size: 0.051
# dtype: bfloat16
# where: parameter weight
# source: pytorch/ao PR 4806, "Restore straight-through estimator at the fake-quant clamp boundary"
# why: fake quantisation clamps rounded values, and a strict comparison drops the gradient of all values that round exactly to a bound
import torch
from torch import nn

QMIN, QMAX, S = -8, 7, 2.0 ** -4


class RoundSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


class ClampFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strict):
        ctx.save_for_backward(x)
        ctx.strict = strict
        return x.clamp(QMIN, QMAX)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        keep = (x > QMIN) & (x < QMAX) if ctx.strict else (x >= QMIN) & (x <= QMAX)
        return g * keep, None


class QATLinear(nn.Module):
    def __init__(self, weight, strict):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.strict = strict

    def forward(self, x):
        q = ClampFn.apply(RoundSTE.apply(self.weight / S), self.strict) * S
        return x @ q.t()


class PlainQAT(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, x):
        w = self.weight / S
        r = torch.round(w)
        inside = (r >= QMIN) & (r <= QMAX)
        ste = torch.where(inside, w - w.detach(), torch.zeros_like(w)) + r.clamp(QMIN, QMAX).detach()
        return x @ (ste * S).t()


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(8)
    weight = (torch.randn(90, 110, generator=gen) * 0.146).bfloat16()
    x = torch.randn(23, 110, generator=gen).bfloat16().requires_grad_()
    return {"reference": PlainQAT(weight), "candidate": QATLinear(weight, faulty), "inputs": (x,)}
