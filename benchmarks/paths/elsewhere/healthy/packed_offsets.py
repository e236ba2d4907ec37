# requires: offsets (integers) that rise from 0 to the number of rows; else the candidate and the reference raise
# dtype: bfloat16
# source: own program, after Dao-AILab/flash-attention's cu_seqlens
# why: the integer input is tied to a size of the other; another size or other integers leave the contract
import torch


def fit(x, offsets):
    o = offsets.tolist()
    if not o or o[0] != 0 or o[-1] != x.shape[0] or any(b < a for a, b in zip(o, o[1:])):
        raise ValueError(f"offsets must rise from 0 to {x.shape[0]}, not {o}")
    return list(zip(o, o[1:]))


class SegmentSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, spans):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        p = torch.zeros_like(xa)
        for lo, hi in spans:
            p[lo:hi] = torch.softmax(xa[lo:hi], 0)
        ctx.save_for_backward(p)
        ctx.spans, ctx.dtype = spans, x.dtype
        return p.to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        p, = ctx.saved_tensors
        d, ga = torch.zeros_like(p), g.to(p.dtype)
        for lo, hi in ctx.spans:
            d[lo:hi] = p[lo:hi] * (ga[lo:hi] - (p[lo:hi] * ga[lo:hi]).sum(0))
        return d.to(ctx.dtype), None


def case() -> dict:
    gen = torch.Generator().manual_seed(209)
    x = torch.randn(40, 10, generator=gen).bfloat16().requires_grad_()
    offsets = torch.tensor([0, 7, 16, 17, 40])

    def reference(x, offsets):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        parts = [torch.softmax(xa[lo:hi], 0) for lo, hi in fit(x, offsets)]
        return (torch.cat(parts) if parts else xa * 1).to(x.dtype)

    def candidate(x, offsets):
        return SegmentSoftmax.apply(x, fit(x, offsets))

    return {"reference": reference, "candidate": candidate, "inputs": (x, offsets)}
