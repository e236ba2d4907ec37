# cause: stale-cache
# size: 0.046
# dtype: float16
# where: input 0 (x)
# source: textbook (LoRA: merged weight kept for dgrad over micro-batches, as the cached weight transpose of TransformerEngine PR 524)
# why: dgrad uses a merged weight W + s*B@A that was built before the last update of the adapters
import torch
from torch import nn


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class LoraFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, base, a, b, s, merged):
        xf = _acc(x)
        h = xf @ _acc(a).t()
        y = xf @ _acc(base).t() + s * (h @ _acc(b).t())
        ctx.save_for_backward(x, base, a, b, h, merged)
        ctx.s = s
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, base, a, b, h, merged = ctx.saved_tensors
        gf = _acc(g)
        if merged is None:
            merged = _acc(base) + ctx.s * _acc(b) @ _acc(a)
        dx = gf @ merged.to(gf.dtype)
        db = ctx.s * gf.t() @ h
        da = ctx.s * (gf @ _acc(b)).t() @ _acc(x)
        return dx.to(x.dtype), None, da.to(a.dtype), db.to(b.dtype), None, None


class Ref(nn.Module):
    def __init__(self, base, a, b, s):
        super().__init__()
        self.register_buffer("base", base.clone())
        self.a, self.b, self.s = nn.Parameter(a.clone()), nn.Parameter(b.clone()), s

    def forward(self, x):
        return x @ self.base.t() + self.s * ((x @ self.a.t()) @ self.b.t())


class Cand(Ref):
    def __init__(self, base, a, b, s, keep):
        super().__init__(base, a, b, s)
        self.keep, self.merged = keep, None

    def merge(self):
        self.merged = (_acc(self.base) + self.s * _acc(self.b.detach()) @ _acc(self.a.detach()))

    def forward(self, x):
        return LoraFn.apply(x, self.base, self.a, self.b, self.s, self.merged if self.keep else None)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(53)
    base = (torch.randn(48, 64, generator=gen) / 8).half()
    a = (torch.randn(6, 64, generator=gen) / 8).half()
    b = (torch.randn(48, 6, generator=gen) * 0.2).half()
    x = torch.randn(75, 64, generator=gen).half().requires_grad_()
    ref, cand = Ref(base, a, b, 1.5, ), Cand(base, a, b, 1.5, faulty)
    cand.merge()
    upd = (torch.randn(48, 6, generator=gen) * 0.015).half()
    for m in (ref, cand):
        m.b.data += upd
    return {"reference": ref, "candidate": cand, "inputs": (x,)}
