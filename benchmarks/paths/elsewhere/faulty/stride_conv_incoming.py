# cause: stride
# breaks: not contiguous
# dtype: float32
# where: the incoming gradient not contiguous: inputs 0 (x) and 1 (w)
# source: fla-org/flash-linear-attention pull 871, simplified
# why: the backward reads the incoming gradient by the fixed strides (T * D, D, 1)
import torch


def load(t, strides):
    """What a kernel reads from t's first element on by these strides (0 past the end of its memory)."""
    end = t.untyped_storage().nbytes() // t.element_size() - t.storage_offset()
    if t.numel() == 0:
        return t
    at = torch.zeros((), dtype=torch.long)
    for size, stride in zip(t.shape, strides):
        at = at[..., None] + torch.arange(size) * stride
    read = t.as_strided((end,), (1,))[at.clamp(max=end - 1)]
    return torch.where(at < end, read, torch.zeros_like(read))


class ShortConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        ctx.save_for_backward(x, w)
        ctx.faulty = faulty
        k, t = w.shape[1], x.shape[1]
        xp = torch.nn.functional.pad(x, (0, 0, k - 1, 0))
        return sum(xp[:, i:i + t] * w[:, i] for i in range(k))

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        k, (_, t, d) = w.shape[1], x.shape
        if ctx.faulty:
            g = load(g, (t * d, d, 1))
        gp = torch.nn.functional.pad(g, (0, 0, 0, k - 1))
        xp = torch.nn.functional.pad(x, (0, 0, k - 1, 0))
        dx = sum(gp[:, k - 1 - i:k - 1 - i + t] * w[:, i] for i in range(k))
        dw = torch.stack([(g * xp[:, i:i + t]).sum((0, 1)) for i in range(k)], 1)
        return dx, dw, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(104)
    x = torch.randn(3, 32, 12, generator=gen).requires_grad_()
    w = (torch.randn(12, 4, generator=gen) * 0.5).requires_grad_()

    def reference(x, w):
        xp = torch.cat([torch.zeros_like(x[:, :1])] * (w.shape[1] - 1) + [x], 1) if x.shape[1] else x
        return sum(xp[:, i:i + x.shape[1]] * w[:, i] for i in range(w.shape[1]))

    def candidate(x, w):
        return ShortConv.apply(x, w, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
