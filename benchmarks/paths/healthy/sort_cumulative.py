# sparsemax: sort, cumulative sum and a threshold index that may flip between formats (the function itself is continuous)
import torch


def _support(x):
    s = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1).to(x.dtype)
    c = s.cumsum(-1)
    n = (1 + k * s > c).sum(-1, keepdim=True)
    tau = (c.gather(-1, n - 1) - 1) / n.to(x.dtype)
    return tau


class Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        out = (x - _support(x)).clamp_min(0)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, g):
        (out,) = ctx.saved_tensors
        m = (out > 0).to(g.dtype)
        return m * (g - (g * m).sum(-1, keepdim=True) / m.sum(-1, keepdim=True))


def case():
    gen = torch.Generator().manual_seed(131)
    x = (torch.randn(70, 18, generator=gen) * 0.7).requires_grad_()
    return {"reference": lambda x: torch.relu(x - _support(x)), "candidate": Sparsemax.apply, "inputs": (x,)}
