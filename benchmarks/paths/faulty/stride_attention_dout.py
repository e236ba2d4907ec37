# cause: stride
# size: 1.4
# dtype: bfloat16
# where: input 1 (k)
# source: Dao-AILab/flash-attention issue 355, "Incorrect backward pass for non-contiguous output grads"
# why: the backward reads dout's memory as if it were contiguous, but it is a transposed view
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def _raw(t):
    """what a kernel sees that is given only a pointer and a shape"""
    st, n = [], 1
    for s in reversed(t.shape):
        st.insert(0, n)
        n *= s
    return t.as_strided(t.shape, st)


class FlashLike(torch.autograd.Function):
    """q, k, v: (batch, seq, heads, dim)"""

    @staticmethod
    def forward(ctx, q, k, v, faulty):
        q, k, v = (t.contiguous() for t in (q, k, v))
        qf, kf, vf = (_acc(t).transpose(1, 2) for t in (q, k, v))
        p = (qf @ kf.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, p)
        ctx.faulty = faulty
        return (p @ vf).transpose(1, 2).contiguous().to(q.dtype)

    @staticmethod
    def backward(ctx, dout):
        q, k, v, p = ctx.saved_tensors
        dout = _raw(dout) if ctx.faulty else dout.contiguous()
        qf, kf, vf, do = (_acc(t).transpose(1, 2) for t in (q, k, v, dout))
        dv = p.transpose(-1, -2) @ do
        dp = do @ vf.transpose(-1, -2)
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        dq, dk = ds @ kf, ds.transpose(-1, -2) @ qf
        return tuple(t.transpose(1, 2).to(q.dtype) for t in (dq, dk, dv)) + (None,)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(23)
    q, k, v = (torch.randn(2, 31, 4, 24, generator=gen).bfloat16().requires_grad_() for _ in range(3))
    gate = torch.rand(2, 4, 31, 1, generator=gen).bfloat16()

    def reference(q, k, v, gate):
        qh, kh, vh = (t.transpose(1, 2) for t in (q, k, v))
        return (qh @ kh.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ vh * gate

    def candidate(q, k, v, gate):
        return FlashLike.apply(q, k, v, faulty).transpose(1, 2) * gate

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, gate)}
