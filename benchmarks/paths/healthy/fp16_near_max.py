# float16 with values up to about 9000 and outputs up to some 30000, without overflow
import torch


class MulFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, g * x


def case():
    gen = torch.Generator().manual_seed(102)
    x = (torch.rand(40, 55, generator=gen) * 8000 + 1000).half().requires_grad_()
    w = (torch.rand(40, 55, generator=gen) * 3 + 0.5).half().requires_grad_()

    def reference(x, w):
        return x * w

    def candidate(x, w):
        return torch.cat([MulFn.apply(a, b) for a, b in zip(x.split(11), w.split(11))])

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
