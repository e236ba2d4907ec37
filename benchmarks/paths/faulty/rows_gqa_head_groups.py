# cause: wrong-rows
# size: 1.2
# dtype: float16
# where: input 2 (v), almost equal: input 1 (k)
# source: flash-attention grouped-query attention (dk, dv summed over the query heads of a group), textbook slip
# why: the backward folds query heads as (rep, kv) although the forward repeats them as (kv, rep)
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class GQA(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        rep = q.shape[1] // k.shape[1]
        kk, vv = (_acc(t).repeat_interleave(rep, 1) for t in (k, v))
        p = (_acc(q) @ kk.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, p)
        ctx.rep, ctx.faulty = rep, faulty
        return (p @ vv).to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, p = ctx.saved_tensors
        rep, dt = ctx.rep, q.dtype
        b, hkv, t, d = k.shape
        q, do = _acc(q), _acc(do)
        kk, vv = (_acc(x).repeat_interleave(rep, 1) for x in (k, v))
        dv = p.transpose(-1, -2) @ do
        dp = do @ vv.transpose(-1, -2)
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * d ** -0.5
        dq, dk = ds @ kk, ds.transpose(-1, -2) @ q
        if ctx.faulty:
            dk, dv = (x.reshape(b, rep, hkv, t, d).sum(1) for x in (dk, dv))
        else:
            dk, dv = (x.reshape(b, hkv, rep, t, d).sum(2) for x in (dk, dv))
        return dq.to(dt), dk.to(dt), dv.to(dt), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(16)
    q = torch.randn(2, 6, 33, 24, generator=gen).half().requires_grad_()
    k, v = (torch.randn(2, 3, 33, 24, generator=gen).half().requires_grad_() for _ in range(2))

    def reference(q, k, v):
        outs = []
        for h in range(q.shape[1]):
            j = h // 2
            s = q[:, h] @ k[:, j].transpose(-1, -2) / q.shape[-1] ** 0.5
            outs.append(s.softmax(-1) @ v[:, j])
        return torch.stack(outs, 1)

    def candidate(q, k, v):
        return GQA.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
