# cause: scale
# size: 0.087
# dtype: float16
# where: input 0 (q)
# source: flash-attention, head dimension padded to a multiple of 32 (textbook slip of the softmax scale)
# why: the head dimension is padded from 80 to 96 for the kernel and the backward takes 1/sqrt of the padded size
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class PaddedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        d = q.shape[-1]
        pad = (-d) % 32
        q, k, v = (torch.nn.functional.pad(t, (0, pad)) for t in (q, k, v))
        scale = d ** -0.5
        s = _acc(q) @ _acc(k).transpose(-1, -2) * scale
        lse = s.logsumexp(-1)
        o = (s - lse[..., None]).exp() @ _acc(v)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.scale, ctx.d, ctx.faulty = scale, d, faulty
        return o[..., :d].to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        dt = q.dtype
        q, k, v, do = map(_acc, (q, k, v, do))
        do = torch.nn.functional.pad(do, (0, q.shape[-1] - ctx.d))
        p = (q @ k.transpose(-1, -2) * ctx.scale - lse[..., None]).exp()
        dv = p.transpose(-1, -2) @ do
        dp = do @ v.transpose(-1, -2)
        ds = p * (dp - (do * o).sum(-1, keepdim=True))
        ds = ds * (q.shape[-1] ** -0.5 if ctx.faulty else ctx.scale)
        dq, dk = ds @ k, ds.transpose(-1, -2) @ q
        return dq[..., :ctx.d].to(dt), dk[..., :ctx.d].to(dt), dv[..., :ctx.d].to(dt), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(2, 3, 37, 80, generator=gen).half().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        s = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
        return s.softmax(-1) @ v

    def candidate(q, k, v):
        return PaddedAttention.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
