# requires: values below 256: x * x overflows float16 beyond that, in both ways alike
# dtype: float16
# source: own program
# why: both ways square in float16; large values give inf in output and gradients of both
import torch


class SquareGate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return 2 * x * (g * w), (g * (x * x))


def case() -> dict:
    gen = torch.Generator().manual_seed(207)
    x, w = (torch.randn(24, 20, generator=gen).half().requires_grad_() for _ in range(2))

    def reference(x, w):
        return x.square() * w

    def candidate(x, w):
        if x.shape != w.shape:
            raise ValueError("x and w must have one shape")
        return SquareGate.apply(x, w)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
