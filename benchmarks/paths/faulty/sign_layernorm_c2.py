# cause: sign
# size: 0.067
# dtype: float16
# where: input 0 (x)
# source: textbook (layer norm backward)
# why: the term xhat*mean(g*xhat) of the layer norm backward is added instead of subtracted
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class LayerNormFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        xf = _acc(x)
        mean = xf.mean(-1, keepdim=True)
        rstd = (xf.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(x, w, mean, rstd)
        ctx.faulty = faulty
        return ((xf - mean) * rstd * _acc(w) + _acc(b)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w, mean, rstd = ctx.saved_tensors
        dyf = _acc(dy)
        xhat = (_acc(x) - mean) * rstd
        g = dyf * _acc(w)
        c1 = g.mean(-1, keepdim=True)
        c2 = (g * xhat).mean(-1, keepdim=True)
        sgn = -1.0 if ctx.faulty else 1.0
        dx = rstd * (g - c1 - sgn * xhat * c2)
        return dx.to(x.dtype), (dyf * xhat).sum(0).to(w.dtype), dyf.sum(0).to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(17)
    x = (torch.randn(14, 1500, generator=gen) * 1.3 + 0.2).half().requires_grad_()
    w = (1 + 0.2 * torch.randn(1500, generator=gen)).half().requires_grad_()
    b = (0.1 * torch.randn(1500, generator=gen)).half().requires_grad_()

    def reference(x, w, b):
        m = x.mean(-1, keepdim=True)
        c = x - m
        return c * ((c * c).mean(-1, keepdim=True) + 1e-5).rsqrt() * w + b

    def candidate(x, w, b):
        return LayerNormFn.apply(x, w, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
