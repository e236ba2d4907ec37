# cause: wrong-rows
# size: 0.019
# dtype: bfloat16
# where: input 0 (q)
# source: flash-attention local (sliding window) attention with ALiBi, window bound off by one (textbook)
# why: the mask rebuilt in the backward is one key narrower than in the forward, so the oldest key of each window gets no gradient
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def _bias(t, window, slope, dtype):
    i, j = torch.arange(t)[:, None], torch.arange(t)[None]
    dist = (i - j).to(dtype)
    ok = (j <= i) & (i - j < window)
    return torch.where(ok, -slope * dist, torch.full_like(dist, float("-inf")))


class LocalAttn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, window, slope, faulty):
        s = _acc(q) @ _acc(k).transpose(-1, -2) * q.shape[-1] ** -0.5
        s = s + _bias(q.shape[-2], window, slope, s.dtype)
        lse = s.logsumexp(-1, keepdim=True)
        o = (s - lse).exp() @ _acc(v)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.args = window - 1 if faulty else window, slope
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        dt, scale = q.dtype, q.shape[-1] ** -0.5
        q, k, v, do = map(_acc, (q, k, v, do))
        s = q @ k.transpose(-1, -2) * scale + _bias(q.shape[-2], *ctx.args, q.dtype)
        p = (s - lse).exp()
        ds = p * (do @ v.transpose(-1, -2) - (do * o).sum(-1, keepdim=True)) * scale
        return (ds @ k).to(dt), (ds.transpose(-1, -2) @ q).to(dt), (p.transpose(-1, -2) @ do).to(dt), None, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(18)
    q, k, v = (torch.randn(2, 2, 75, 20, generator=gen).bfloat16().requires_grad_() for _ in range(3))
    W, SL = 16, 0.28

    def reference(q, k, v):
        s = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + _bias(q.shape[-2], W, SL, q.dtype)
        return s.softmax(-1) @ v

    def candidate(q, k, v):
        return LocalAttn.apply(q, k, v, W, SL, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
