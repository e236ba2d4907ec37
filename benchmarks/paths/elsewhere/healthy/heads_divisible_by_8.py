# requires: the head size (last dimension of q, k, v) divisible by 8, else the candidate raises ValueError
# dtype: bfloat16
# source: own program, after Dao-AILab/flash-attention's head size rule
# why: a shape outside the contract is refused, not computed wrongly
import torch


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        acc = torch.promote_types(q.dtype, torch.float32)
        p = torch.softmax(q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        ctx.save_for_backward(q, k, v, p)
        return (p @ v.to(acc)).to(q.dtype)

    @staticmethod
    def backward(ctx, g):
        q, k, v, p = ctx.saved_tensors
        qa, ka, va, ga = (t.to(p.dtype) for t in (q, k, v, g))
        dp = ga @ va.transpose(-1, -2)
        ds = p * (dp - (p * dp).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        return (ds @ ka).to(q.dtype), (ds.transpose(-1, -2) @ qa).to(k.dtype), (p.transpose(-1, -2) @ ga).to(v.dtype)


def case() -> dict:
    gen = torch.Generator().manual_seed(201)
    q, k, v = (torch.randn(2, 3, 12, 16, generator=gen).bfloat16().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        acc = torch.promote_types(q.dtype, torch.float32)
        s = q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5
        return (torch.softmax(s, -1) @ v.to(acc)).to(q.dtype)

    def candidate(q, k, v):
        if q.shape[-1] % 8:
            raise ValueError(f"the head size must be divisible by 8, not {q.shape[-1]}")
        return Attention.apply(q, k, v)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
