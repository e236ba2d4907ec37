# cause: stride
# breaks: broadcast
# dtype: float32
# where: an input (0 or 1) that is expanded (stride 0): that input's gradient
# source: Dao-AILab/flash-attention pull 2777 (gradient buffers laid out like the inputs), simplified
# why: each gradient is written into a buffer with the input's own strides; with stride 0 all rows land in one place
import torch


def store(values, like, own_layout):
    """A gradient buffer laid out as the input is, written value by value."""
    if not own_layout or values.numel() == 0:
        return values
    size = 1 + sum((n - 1) * s for n, s in zip(like.shape, like.stride()))
    at = torch.zeros((), dtype=torch.long)
    for n, s in zip(like.shape, like.stride()):
        at = at[..., None] + torch.arange(n) * s
    memory = values.new_zeros(size)
    memory[at.reshape(-1)] = values.reshape(-1)
    return memory.as_strided(like.shape, like.stride())


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, faulty):
        ctx.save_for_backward(a, b)
        ctx.faulty = faulty
        return a * torch.sigmoid(a) * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        da = g * b * (s + a * s * (1 - s))
        db = g * a * s
        return store(da, a, ctx.faulty), store(db, b, ctx.faulty), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(106)
    a = torch.randn(20, 36, generator=gen).requires_grad_()
    b = torch.randn(20, 36, generator=gen).requires_grad_()

    def reference(a, b):
        return torch.nn.functional.silu(a) * b

    def candidate(a, b):
        if a.shape != b.shape:
            raise ValueError("a and b must have one shape")
        return SwiGLU.apply(a, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (a, b)}
