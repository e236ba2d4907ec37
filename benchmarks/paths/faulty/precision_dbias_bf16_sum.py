# cause: precision
# size: 0.035
# dtype: bfloat16
# where: parameter bias
# source: linkedin/Liger-Kernel PR 950, "ensure FP32 accumulation for dW" (here for the bias gradient)
# why: the bias gradient is accumulated row by row in a bf16 buffer; the error grows with the number of rows
import torch
from torch import nn


class BiasAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b, faulty):
        ctx.faulty, ctx.dt = faulty, b.dtype
        return x + b

    @staticmethod
    def backward(ctx, g):
        buf = torch.bfloat16 if ctx.faulty else torch.float64
        db = torch.zeros(g.shape[-1], dtype=buf)
        for row in g.reshape(-1, g.shape[-1]).to(buf):
            db += row
        return g, db.to(ctx.dt), None


class Ref(nn.Module):
    def __init__(self, b):
        super().__init__()
        self.bias = nn.Parameter(b.clone())

    def forward(self, x):
        return torch.tanh(x + self.bias)


class Cand(Ref):
    def __init__(self, b, faulty):
        super().__init__(b)
        self.faulty = faulty

    def forward(self, x):
        return torch.tanh(BiasAdd.apply(x, self.bias, self.faulty))


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(54)
    b = (torch.randn(13, generator=gen) * 0.3).bfloat16()
    x = torch.randn(14, 75, 13, generator=gen).bfloat16().requires_grad_()
    return {"reference": Ref(b), "candidate": Cand(b, faulty), "inputs": (x,)}
