# cause: missing-term
# size: 0.17
# dtype: bfloat16
# where: input 0 (q)
# source: Dao-AILab/flash-attention issues 889, 1137, 141: no gradient through the returned softmax_lse
# why: the backward ignores the incoming gradient of the second output, the log-sum-exp
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class AttnLse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        scale = q.shape[-1] ** -0.5
        s = _acc(q) @ _acc(k).transpose(-1, -2) * scale
        lse = s.logsumexp(-1)
        o = (s - lse[..., None]).exp() @ _acc(v)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.scale, ctx.faulty = scale, faulty
        return o.to(q.dtype), lse.to(q.dtype)

    @staticmethod
    def backward(ctx, do, dlse):
        q, k, v, o, lse = ctx.saved_tensors
        dt = q.dtype
        q, k, v, do = map(_acc, (q, k, v, do))
        p = (q @ k.transpose(-1, -2) * ctx.scale - lse[..., None]).exp()
        dv = p.transpose(-1, -2) @ do
        delta = (do * o).sum(-1)
        if not ctx.faulty:
            delta = delta - _acc(dlse)
        ds = p * (do @ v.transpose(-1, -2) - delta[..., None]) * ctx.scale
        return (ds @ k).to(dt), (ds.transpose(-1, -2) @ q).to(dt), dv.to(dt), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(41)
    q, k, v = (torch.randn(1, 3, 51, 64, generator=gen).bfloat16().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        s = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
        return s.softmax(-1) @ v, s.logsumexp(-1)

    def candidate(q, k, v):
        return AttnLse.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
