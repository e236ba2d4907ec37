# cause: missing-term
# size: 0.34
# dtype: float32
# where: input 0 (x), the first zero of a row
# source: tensorflow/tensorflow issue 119430; tracel-ai/burn pull 5141
# why: the backward divides by x and puts 0 where x is 0
import torch


class CumProd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        y = torch.cumprod(x, -1)
        ctx.save_for_backward(x, y)
        ctx.faulty = faulty
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        if ctx.faulty:
            d = (g * y).flip(-1).cumsum(-1).flip(-1) / x
            return torch.where(x == 0, torch.zeros_like(d), d), None
        left = torch.cat([torch.ones_like(x[..., :1]), y[..., :-1]], -1)
        tail, back = torch.zeros_like(x), torch.zeros_like(x[..., 0])
        for i in range(x.shape[-1] - 1, -1, -1):
            back = g[..., i] + (back * x[..., i + 1] if i + 1 < x.shape[-1] else 0)
            tail[..., i] = back
        return left * tail, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(310)
    x = torch.rand(12, 14, generator=gen) + 0.5
    x[::2, 5] = 0
    x[::4, 9] = 0
    x[3, 0] = 0

    def reference(x):
        return torch.stack([x[..., :i + 1].prod(-1) for i in range(x.shape[-1])], -1)

    def candidate(x):
        return CumProd.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x.requires_grad_(),)}
