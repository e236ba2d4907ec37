# internal loss scaling: the backward multiplies by 512 before the half-precision products and divides afterwards
import torch


class ScaleGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, s):
        ctx.s = s
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.s, None


def case():
    gen = torch.Generator().manual_seed(149)
    x = torch.randn(80, 24, generator=gen).half().requires_grad_()
    w1 = (torch.randn(30, 24, generator=gen) * 0.05).half().requires_grad_()
    w2 = (torch.randn(10, 30, generator=gen) * 0.05).half().requires_grad_()

    def reference(x, w1, w2):
        return torch.tanh(x @ w1.t()) @ w2.t() * 0.01

    def candidate(x, w1, w2):
        x, w1, w2 = (ScaleGrad.apply(t, 1 / 512) for t in (x, w1, w2))
        y = torch.tanh(torch.nn.functional.linear(x, w1))
        return ScaleGrad.apply(torch.nn.functional.linear(y, w2), 512.0) * 0.01

    return {"reference": reference, "candidate": candidate, "inputs": (x, w1, w2)}
