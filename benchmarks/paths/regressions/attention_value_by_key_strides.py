# cause: stride
# size: 1.8
# dtype: float16
# where: inputs 0 (q) and 1 (k); v has the layout of a (batch, length, head, d) tensor, k has not; v's own is right
# source: Dao-AILab/flash-attention pull 818 and issue 355 (pytorch/pytorch pull 119500)
# why: the backward reads v by k's strides, and the two are laid out differently
import torch


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        acc = torch.promote_types(q.dtype, torch.float32)
        p = torch.softmax(q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        o = p @ v.to(acc)
        ctx.save_for_backward(q, k, v, p, o)
        ctx.faulty = faulty
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, o = ctx.saved_tensors
        read = v.as_strided(v.shape, k.stride()) if ctx.faulty else v
        qa, ka, va, ga = (t.to(p.dtype) for t in (q, k, read, g))
        ds = p * (ga @ va.transpose(-1, -2) - (ga * o).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        dq, dk, dv = ds @ ka, ds.transpose(-1, -2) @ qa, p.transpose(-1, -2) @ ga
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(305)
    q, v = (torch.randn(2, 18, 4, 16, generator=gen).half().transpose(1, 2).requires_grad_() for _ in range(2))
    k = torch.randn(2, 4, 18, 16, generator=gen).half().requires_grad_()

    def reference(q, k, v):
        return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v

    def candidate(q, k, v):
        return Attention.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
