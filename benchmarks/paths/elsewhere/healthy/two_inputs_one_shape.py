# requires: both inputs of one shape; the candidate raises ValueError where the reference would broadcast
# dtype: float32
# source: own program
# why: changing one input alone leaves the contract
import torch


class Cosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        nx, ny = (torch.sqrt(t.square().sum(-1, keepdim=True) + 1e-8) for t in (x, y))
        ctx.save_for_backward(x / nx, y / ny, nx, ny)
        return (x / nx * (y / ny)).sum(-1)

    @staticmethod
    def backward(ctx, g):
        u, v, nx, ny = ctx.saved_tensors
        g, c = g[..., None], (u * v).sum(-1, keepdim=True)
        return g * (v - c * u) / nx, g * (u - c * v) / ny


def case() -> dict:
    gen = torch.Generator().manual_seed(202)
    x, y = (torch.randn(18, 24, generator=gen).requires_grad_() for _ in range(2))

    def reference(x, y):
        nx, ny = (torch.sqrt(t.square().sum(-1, keepdim=True) + 1e-8) for t in (x, y))
        return (x / nx * (y / ny)).sum(-1)

    def candidate(x, y):
        if x.shape != y.shape:
            raise ValueError(f"one shape wanted, not {tuple(x.shape)} and {tuple(y.shape)}")
        return Cosine.apply(x, y)

    return {"reference": reference, "candidate": candidate, "inputs": (x, y)}
