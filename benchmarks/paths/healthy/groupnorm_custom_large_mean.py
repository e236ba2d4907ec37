# hand-written GroupNorm backward (float32 inside) with inputs around 30 in float16, 3 groups, uneven spatial size
import torch, torch.nn.functional as F


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class GN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, groups):
        u = up(x).reshape(x.shape[0], groups, -1)
        mu = u.mean(-1, keepdim=True)
        rs = torch.rsqrt((u - mu).square().mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(x, w, mu, rs)
        ctx.groups = groups
        y = ((u - mu) * rs).view_as(x) * up(w)[:, None, None] + up(b)[:, None, None]
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w, mu, rs = ctx.saved_tensors
        n, g = x.shape[0], ctx.groups
        hat = (up(x).reshape(n, g, -1) - mu) * rs
        d = up(dy)
        wd = (d * up(w)[:, None, None]).reshape(n, g, -1)
        dx = rs * (wd - wd.mean(-1, keepdim=True) - hat * (wd * hat).mean(-1, keepdim=True))
        return (dx.view_as(x).to(x.dtype), (d * hat.view_as(d)).sum((0, 2, 3)).to(w.dtype),
                d.sum((0, 2, 3)).to(w.dtype), None)


def case():
    torch.manual_seed(3)
    x = (30 + torch.randn(4, 9, 7, 11)).half().requires_grad_()
    w = torch.randn(9).half().requires_grad_()
    b = torch.randn(9).half().requires_grad_()
    return {"reference": lambda x, w, b: F.silu(F.group_norm(x, 3, w, b)),
            "candidate": lambda x, w, b: F.silu(GN.apply(x, w, b, 3)), "inputs": (x, w, b)}
