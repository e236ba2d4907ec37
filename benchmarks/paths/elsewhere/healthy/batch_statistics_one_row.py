# requires: two rows at least; the variance of one row (divided by rows - 1) is 0 / 0 in both ways
# dtype: float32
# source: own program, after torch.nn.BatchNorm's "more than 1 value per channel"
# why: one row is degenerate in both ways: nan in output and gradients alike
import torch


class Standardise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        n = x.shape[0]
        away = x - x.sum(0) / n
        rstd = torch.rsqrt(away.square().sum(0) / (n - 1) + 1e-5)
        ctx.save_for_backward(away, rstd, w)
        return away * rstd * w

    @staticmethod
    def backward(ctx, g):
        away, rstd, w = ctx.saved_tensors
        n = away.shape[0]
        gw, xhat = g * w, away * rstd
        dx = rstd * (gw - gw.sum(0) / n - xhat * ((gw * xhat).sum(0) / (n - 1)))
        return dx, (g * xhat).sum(0)


def case() -> dict:
    gen = torch.Generator().manual_seed(206)
    x = torch.randn(20, 16, generator=gen).requires_grad_()
    w = (torch.randn(16, generator=gen) * 0.2 + 1).requires_grad_()

    def reference(x, w):
        return (x - x.mean(0)) * torch.rsqrt(x.var(0, correction=1) + 1e-5) * w

    def candidate(x, w):
        return Standardise.apply(x, w)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
