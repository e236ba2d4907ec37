# requires: channels divisible by 4 groups (both ways raise); w and b as long as the channels
# dtype: float32
# source: own program, after torch.nn.GroupNorm's rule
# why: a channel count that the groups do not divide is refused in both ways
import torch

GROUPS = 4


class GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        n, c = x.shape[:2]
        xg = x.reshape(n, GROUPS, c // GROUPS * x[0, 0].numel() if n else 1)
        mean = xg.mean(-1, keepdim=True)
        rstd = torch.rsqrt((xg - mean).square().mean(-1, keepdim=True) + 1e-5)
        xhat = ((xg - mean) * rstd).reshape(n, c, x[0, 0].numel())
        ctx.save_for_backward(xhat, rstd, w)
        ctx.shape = x.shape
        return (xhat * w[:, None] + b[:, None]).reshape(x.shape)

    @staticmethod
    def backward(ctx, g):
        xhat, rstd, w = ctx.saved_tensors
        gr = g.reshape(xhat.shape)
        dw, db = (gr * xhat).sum((0, 2)), gr.sum((0, 2))
        gx, hx = ((t.reshape(len(xhat), GROUPS, -1)) for t in (gr * w[:, None], xhat))
        dx = rstd * (gx - gx.mean(-1, keepdim=True) - hx * (gx * hx).mean(-1, keepdim=True))
        return dx.reshape(ctx.shape), dw, db


def case() -> dict:
    gen = torch.Generator().manual_seed(204)
    x = torch.randn(3, 12, 5, 6, generator=gen).requires_grad_()
    w = (torch.randn(12, generator=gen) * 0.2 + 1).requires_grad_()
    b = torch.randn(12, generator=gen).requires_grad_()

    def reference(x, w, b):
        return torch.nn.functional.group_norm(x, GROUPS, w, b, 1e-5)

    def candidate(x, w, b):
        if x.shape[1] % GROUPS or w.shape != (x.shape[1],) or b.shape != w.shape:
            raise ValueError("channels must be divisible by 4, and w and b as long as the channels")
        if x.numel() == 0:
            raise ValueError("no empty input")
        return GroupNorm.apply(x, w, b)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
