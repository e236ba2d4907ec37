# cause: wrong-rows
# breaks: one head
# dtype: float32
# where: inputs 0 (q) and 1 (k), where there is one head (size 1 in dimension 1) and the batch is larger than 1
# source: own program, after Dao-AILab/flash-attention issue 355 (layout of the backward's row sums)
# why: the row sums lose the head dimension when it is 1; batch broadcasts against head, and autograd sums that away
import torch


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        p = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        o = p @ v
        ctx.save_for_backward(q, k, v, p, o)
        ctx.faulty = faulty
        return o

    @staticmethod
    def backward(ctx, g):
        q, k, v, p, o = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        delta = (g * o).sum(-1)
        if ctx.faulty:
            delta = delta.squeeze(1)
        ds = p * (g @ v.transpose(-1, -2) - delta.unsqueeze(-1)) * scale
        return ds @ k, ds.transpose(-1, -2) @ q, p.transpose(-1, -2) @ g, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(110)
    q = torch.randn(3, 4, 10, 16, generator=gen).requires_grad_()
    k = torch.randn(3, 4, 14, 16, generator=gen).requires_grad_()
    v = torch.randn(3, 4, 14, 16, generator=gen).requires_grad_()

    def reference(q, k, v):
        return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v

    def candidate(q, k, v):
        return Attention.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
