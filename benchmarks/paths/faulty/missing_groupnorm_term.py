# cause: missing-term
# size: 0.014
# dtype: float32
# where: input 0 (x)
# source: textbook (group norm backward)
# why: the variance term xhat*mean(g*xhat) is left out of the group norm's input gradient
import torch


class GroupNormFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, groups, faulty):
        n, c = x.shape[:2]
        xg = x.reshape(n, groups, -1)
        mean = xg.mean(-1, keepdim=True)
        rstd = (xg.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        xhat = ((xg - mean) * rstd).reshape(x.shape)
        ctx.save_for_backward(xhat, rstd, w)
        ctx.groups, ctx.faulty = groups, faulty
        return xhat * w[:, None, None] + b[:, None, None]

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, w = ctx.saved_tensors
        n = dy.shape[0]
        dw, db = (dy * xhat).sum((0, 2, 3)), dy.sum((0, 2, 3))
        g = (dy * w[:, None, None]).reshape(n, ctx.groups, -1)
        xh = xhat.reshape(n, ctx.groups, -1)
        dx = g - g.mean(-1, keepdim=True)
        if not ctx.faulty:
            dx = dx - xh * (g * xh).mean(-1, keepdim=True)
        return (dx * rstd).reshape(dy.shape), dw, db, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(2)
    x = (torch.randn(2, 6, 47, 45, generator=gen) * 2 + 0.5).requires_grad_()
    w = (1 + 0.3 * torch.randn(6, generator=gen)).requires_grad_()
    b = torch.randn(6, generator=gen).requires_grad_()

    def reference(x, w, b):
        xg = x.reshape(x.shape[0], 2, -1)
        c = xg - xg.mean(-1, keepdim=True)
        y = c / ((c * c).mean(-1, keepdim=True) + 1e-5).sqrt()
        return y.reshape(x.shape) * w[:, None, None] + b[:, None, None]

    def candidate(x, w, b):
        return GroupNormFn.apply(x, w, b, 2, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
