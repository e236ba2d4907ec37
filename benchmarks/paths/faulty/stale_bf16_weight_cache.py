# cause: stale-cache
# size: 0.01
# dtype: bfloat16
# where: input 0 (x)
# source: NVIDIA/apex PR 132 (weights modified in a way that the cast cache cannot detect)
# why: the backward uses a cached bf16 copy of the weight from before an optimizer step done through .data; the forward casts anew
import torch
from torch import nn


class LinFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, wcast_bwd):
        wc = w.to(x.dtype)
        ctx.save_for_backward(x, wcast_bwd if wcast_bwd is not None else wc)
        return x @ wc.t()

    @staticmethod
    def backward(ctx, g):
        x, wc = ctx.saved_tensors
        gf, xf = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
        up = torch.float64 if g.dtype == torch.float64 else torch.float32
        return g @ wc.to(g.dtype), gf.to(up).t() @ xf.to(up), None


class Lin(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.weight = nn.Parameter(w.clone())

    def forward(self, x):
        return x @ self.weight.to(x.dtype).t()


class CachedLin(Lin):
    def __init__(self, w, cached):
        super().__init__(w)
        self.cached = cached
        self.cache = None  # (version of the weight, cast copy for dgrad)

    def dgrad_weight(self, dtype):
        if not self.cached:
            return None
        v = self.weight._version
        if self.cache is None or self.cache[0] != v:
            self.cache = (v, self.weight.detach().to(dtype))
        return self.cache[1]

    def forward(self, x):
        return LinFn.apply(x, self.weight, self.dgrad_weight(x.dtype))


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(51)
    w = torch.randn(70, 50, generator=gen) / 50 ** 0.5
    step = torch.randn(70, 50, generator=gen) / 50 ** 0.5 * 0.01
    x = torch.randn(3, 33, 50, generator=gen).bfloat16().requires_grad_()
    ref, cand = Lin(w), CachedLin(w, faulty)
    with torch.no_grad():
        cand(x.detach())
    for m in (ref, cand):
        m.weight.data -= step
    return {"reference": ref, "candidate": cand, "inputs": (x,)}
