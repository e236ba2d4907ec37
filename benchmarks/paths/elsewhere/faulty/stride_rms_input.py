# cause: stride
# breaks: not contiguous
# dtype: bfloat16
# where: inputs 0 (x) and 1 (w), where x's columns are not next to each other (transposed, or expanded along the row)
# source: ByteDance-Seed/VeOmni pull 958 (review), simplified
# why: the backward reads x by its row stride and takes the column stride for 1; the forward reads it right
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


class RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        rstd = torch.rsqrt(xa.square().mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, w, rstd)
        ctx.faulty = faulty
        return (xa * rstd * w).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w, rstd = ctx.saved_tensors
        rows = load(x, (x.stride(0), 1)) if ctx.faulty else x
        xhat, ga = rows.to(rstd.dtype) * rstd, g.to(rstd.dtype)
        gw = ga * w
        dx = rstd * (gw - xhat * (gw * xhat).mean(-1, keepdim=True))
        return dx.to(x.dtype), (ga * xhat).sum(0).to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(105)
    x = torch.randn(24, 32, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(32, generator=gen) * 0.2 + 1).bfloat16().requires_grad_()

    def reference(x, w):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        return (xa * torch.rsqrt(xa.square().mean(-1, keepdim=True) + 1e-6) * w).to(x.dtype)

    def candidate(x, w):
        return RMSNorm.apply(x, w, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
