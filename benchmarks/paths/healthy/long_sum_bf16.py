# bias and gain gradients are sums over 5800 rows in bf16; the candidate sums in chunks in float32
import torch


class GainBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, bias):
        ctx.save_for_backward(x, gain)
        return x * gain + bias

    @staticmethod
    def backward(ctx, g):
        x, gain = ctx.saved_tensors
        up = torch.float64 if g.dtype == torch.float64 else torch.float32
        dg = torch.zeros(gain.shape, dtype=up)
        db = torch.zeros(gain.shape, dtype=up)
        for xc, gc in zip(x.split(97), g.split(97)):
            dg += (xc.to(up) * gc.to(up)).sum(0)
            db += gc.to(up).sum(0)
        return g * gain, dg.to(gain.dtype), db.to(gain.dtype)


def case():
    gen = torch.Generator().manual_seed(101)
    x = (torch.randn(5800, 7, generator=gen) + 0.5).bfloat16().requires_grad_()
    gain = torch.randn(7, generator=gen).bfloat16().requires_grad_()
    bias = torch.randn(7, generator=gen).bfloat16().requires_grad_()
    return {"reference": lambda x, a, b: x * a + b, "candidate": GainBias.apply, "inputs": (x, gain, bias)}
