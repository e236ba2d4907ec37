# cause: padding
# breaks: all masked
# dtype: bfloat16
# where: inputs 0 (q), 1 (k), 2 (v), where a query has every key masked off; such a row must give 0 everywhere
# source: pytorch/pytorch issue 41508 and issue 103749, simplified
# why: the backward rebuilds the weights as exp(s - lse); for a row all at the fill value that gives 1, not 0
import torch

FILL = -1e30


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, mask, faulty):
        acc = torch.promote_types(q.dtype, torch.float32)
        s = q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5
        s = torch.where(mask, s, torch.full_like(s, FILL))
        lse = torch.logsumexp(s, -1, keepdim=True)
        p = torch.where(mask, torch.exp(s - lse), torch.zeros_like(s))
        o = p @ v.to(acc)
        ctx.save_for_backward(q, k, v, mask, s, lse, o)
        ctx.faulty = faulty
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, g):
        q, k, v, mask, s, lse, o = ctx.saved_tensors
        ga, qa, ka, va = (t.to(s.dtype) for t in (g, q, k, v))
        p = torch.exp(s - lse)
        if not ctx.faulty:
            p = torch.where(mask, p, torch.zeros_like(p))
        ds = p * (ga @ va.transpose(-1, -2) - (ga * o).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        dq, dk, dv = ds @ ka, ds.transpose(-1, -2) @ qa, p.transpose(-1, -2) @ ga
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(114)
    q, k, v = (torch.randn(3, 12, 16, generator=gen).bfloat16().requires_grad_() for _ in range(3))
    mask = (torch.rand(3, 12, 12, generator=gen) < 0.6) | torch.eye(12, dtype=torch.bool)

    def reference(q, k, v, mask):
        acc = torch.promote_types(q.dtype, torch.float32)
        s = q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5
        p = torch.softmax(s.masked_fill(~mask, torch.finfo(s.dtype).min), -1)
        return (p.masked_fill(~mask, 0) @ v.to(acc)).to(q.dtype)

    def candidate(q, k, v, mask):
        return Attention.apply(q, k, v, mask, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, mask)}
