# dropout: both ways draw the same mask from a generator with the same seed; the candidate draws it again in the backward
import torch


class Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, seed, p):
        ctx.args = seed, p
        return x * Drop.mask(x.shape, seed, p).to(x.dtype) / (1 - p)

    @staticmethod
    def backward(ctx, g):
        seed, p = ctx.args
        return g * Drop.mask(g.shape, seed, p).to(g.dtype) / (1 - p), None, None

    @staticmethod
    def mask(shape, seed, p):
        return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32) >= p


def case():
    gen = torch.Generator().manual_seed(140)
    x = torch.randn(60, 31, generator=gen).half().requires_grad_()
    w = (torch.randn(31, 31, generator=gen) / 31 ** 0.5).half().requires_grad_()

    def reference(x, w):
        g = torch.Generator().manual_seed(2024)
        h = torch.tanh(x @ w)
        return h * (torch.rand(h.shape, generator=g, dtype=torch.float32) >= 0.25).to(h.dtype) / 0.75

    def candidate(x, w):
        return Drop.apply(torch.tanh(x @ w), 2024, 0.25)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
