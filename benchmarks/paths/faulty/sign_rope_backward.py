# cause: sign
# size: 0.9
# dtype: bfloat16
# where: input 1 (k), equal: input 0 (q)
# source: candle PR 3612 / textbook: the backward of fused RoPE is the rotation with sin negated
# why: the backward rotates by +theta again instead of by -theta
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def _rot(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class FusedRope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, cos, sin, faulty):
        ctx.save_for_backward(cos, sin)
        ctx.faulty = faulty
        return tuple(_rot(_acc(t), _acc(cos), _acc(sin)).to(t.dtype) for t in (q, k))

    @staticmethod
    def backward(ctx, gq, gk):
        cos, sin = (_acc(t) for t in ctx.saved_tensors)
        sin = sin if ctx.faulty else -sin
        return _rot(_acc(gq), cos, sin).to(gq.dtype), _rot(_acc(gk), cos, sin).to(gk.dtype), None, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(9)
    q = torch.randn(2, 4, 29, 48, generator=gen).bfloat16().requires_grad_()
    k = torch.randn(2, 2, 29, 48, generator=gen).bfloat16().requires_grad_()
    ang = torch.arange(29)[:, None] * 10000.0 ** (-torch.arange(24)[None] / 24.0)
    cos, sin = ang.cos().bfloat16(), ang.sin().bfloat16()

    def reference(q, k, cos, sin):
        return _rot(q, cos, sin), _rot(k, cos, sin)

    def candidate(q, k, cos, sin):
        return FusedRope.apply(q, k, cos, sin, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, cos, sin)}
