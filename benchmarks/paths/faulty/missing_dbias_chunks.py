# cause: missing-term
# size: 0.92
# dtype: float16
# where: parameter bias
# source: textbook (sequence-chunked MLP: bias gradient assigned instead of accumulated)
# why: the backward runs over sequence chunks and overwrites dbias in each chunk, so only the last one counts
import math
import torch
from torch import nn


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class ChunkedLinearGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, chunk, faulty):
        ctx.save_for_backward(x, w, b)
        ctx.chunk, ctx.faulty = chunk, faulty
        out = []
        for xc in x.split(chunk):
            z = _acc(xc) @ _acc(w).t() + _acc(b)
            out.append(torch.nn.functional.gelu(z).to(x.dtype))
        return torch.cat(out)

    @staticmethod
    def backward(ctx, g):
        x, w, b = ctx.saved_tensors
        wf, bf = _acc(w), _acc(b)
        dx, dw, db = [], torch.zeros_like(wf), torch.zeros_like(bf)
        for xc, gc in zip(x.split(ctx.chunk), g.split(ctx.chunk)):
            xf = _acc(xc)
            z = xf @ wf.t() + bf
            d = 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
            dz = _acc(gc) * d
            dx.append((dz @ wf).to(x.dtype))
            dw += dz.t() @ xf
            if ctx.faulty:
                db = dz.sum(0)
            else:
                db += dz.sum(0)
        return torch.cat(dx), dw.to(w.dtype), db.to(b.dtype), None, None


class Ref(nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.weight, self.bias = nn.Parameter(w.clone()), nn.Parameter(b.clone())

    def forward(self, x):
        return torch.nn.functional.gelu(torch.nn.functional.linear(x, self.weight, self.bias))


class Cand(Ref):
    def __init__(self, w, b, faulty):
        super().__init__(w, b)
        self.faulty = faulty

    def forward(self, x):
        return ChunkedLinearGelu.apply(x, self.weight, self.bias, 50, self.faulty)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(12)
    w = (torch.randn(44, 30, generator=gen) / 30 ** 0.5).half()
    b = (torch.randn(44, generator=gen) * 0.1).half()
    x = torch.randn(210, 30, generator=gen).half().requires_grad_()
    return {"reference": Ref(w, b), "candidate": Cand(w, b, faulty), "inputs": (x,)}
