# requires: values above 0; at 0 the gradient is inf (nan for a gradient of 0), below 0 nan, in both ways
# dtype: float32
# source: own program, after pytorch/pytorch's sqrt
# why: the edge of the domain gives the same inf and nan in both ways
import torch


class RootMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        y = torch.sqrt(x)
        ctx.save_for_backward(y, w)
        return y * w

    @staticmethod
    def backward(ctx, g):
        y, w = ctx.saved_tensors
        return g * w / (2 * y), (g * y).sum(0)


def case() -> dict:
    gen = torch.Generator().manual_seed(210)
    x = (torch.rand(20, 15, generator=gen) + 0.05).requires_grad_()
    w = torch.randn(15, generator=gen).requires_grad_()

    def reference(x, w):
        return torch.sqrt(x) * w

    def candidate(x, w):
        if w.shape != x.shape[1:]:
            raise ValueError("w must be as long as x has columns")
        return RootMix.apply(x, w)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
