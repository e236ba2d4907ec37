# requires: length 24 and width 12, the sizes of a table in the closure; else reference and candidate raise
# dtype: float32
# source: own program
# why: the two sizes are tied to a constant that is no input; only the batch is free
import torch


class AddTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, table):
        ctx.save_for_backward(x, w, table)
        return torch.tanh(x + table) * w

    @staticmethod
    def backward(ctx, g):
        x, w, table = ctx.saved_tensors
        h = torch.tanh(x + table)
        return g * w * (1 - h * h), (g * h).sum((0, 1)), None


def case() -> dict:
    gen = torch.Generator().manual_seed(203)
    x = torch.randn(4, 24, 12, generator=gen).requires_grad_()
    w = torch.randn(12, generator=gen).requires_grad_()
    table = torch.randn(24, 12, generator=gen)

    def fit(x, w):
        if x.ndim != 3 or x.shape[1:] != table.shape or w.shape != table.shape[1:]:
            raise ValueError(f"x must be (batch, 24, 12) and w (12,), not {tuple(x.shape)} and {tuple(w.shape)}")
        return table.to(x.dtype)

    def reference(x, w):
        return torch.tanh(x + fit(x, w)) * w

    def candidate(x, w):
        return AddTable.apply(x, w, fit(x, w))

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
