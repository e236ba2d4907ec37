# requires: one column at least; equal largest values share the gradient evenly in both ways
# dtype: float32
# source: own program, after pytorch/pytorch pull 43519
# why: ties, all values equal too, are defined and alike
import torch


class AMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        top = x.amax(-1, keepdim=True)
        hit = (x == top).to(x.dtype)
        ctx.save_for_backward(hit / hit.sum(-1, keepdim=True))
        return top[..., 0]

    @staticmethod
    def backward(ctx, g):
        share, = ctx.saved_tensors
        return share * g[..., None]


def case() -> dict:
    gen = torch.Generator().manual_seed(208)
    x = torch.randn(16, 22, generator=gen).requires_grad_()

    def reference(x):
        return torch.amax(x, -1)

    def candidate(x):
        return AMax.apply(x)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
