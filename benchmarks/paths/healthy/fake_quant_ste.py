# int8 fake quantisation with straight-through gradient; the scale is no power of two, so rounding flips between formats
import torch


class FQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, s):
        q = torch.round(x / s)
        ctx.save_for_backward((q >= -128) & (q <= 127))
        return q.clamp(-128, 127) * s

    @staticmethod
    def backward(ctx, g):
        (m,) = ctx.saved_tensors
        return torch.where(m, g, torch.zeros_like(g)), None


def case():
    gen = torch.Generator().manual_seed(133)
    w = torch.randn(33, 40, generator=gen).half().requires_grad_()
    x = torch.randn(21, 40, generator=gen).half().requires_grad_()
    S = 0.0233

    def reference(w, x):
        q = torch.round(w / S)
        inside = ((q >= -128) & (q <= 127)).to(w.dtype)
        wq = (q.clamp(-128, 127) * S - w * inside).detach() + w * inside
        return x @ wq.t()

    return {"reference": reference, "candidate": lambda w, x: x @ FQ.apply(w, S).t(), "inputs": (w, x)}
