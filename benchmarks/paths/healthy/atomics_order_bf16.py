# split-K weight gradient with float32 partial sums added in random order, result in bf16
import numpy as np
import torch


class SplitK(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        up = torch.float64 if x.dtype == torch.float64 else torch.float32
        parts = [gc.to(up).t() @ xc.to(up) for gc, xc in zip(g.split(37), x.split(37))]
        dw = torch.zeros(w.shape, dtype=up)
        for i in np.random.default_rng().permutation(len(parts)):
            dw += parts[i]
        return g @ w, dw.to(w.dtype)


def case():
    gen = torch.Generator().manual_seed(105)
    x = torch.randn(700, 30, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(22, 30, generator=gen) / 5).bfloat16().requires_grad_()
    return {"reference": lambda x, w: x @ w.t(), "candidate": SplitK.apply, "inputs": (x, w)}
