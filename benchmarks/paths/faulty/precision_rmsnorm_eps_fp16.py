# cause: precision
# size: 0.039
# dtype: float16
# where: input 0 (x)
# source: textbook (RMSNorm in half precision without upcast: mean square and eps fall into the subnormals)
# why: the backward recomputes the mean square and adds eps=1e-8 in float16, where both are a few units of 6e-8 or zero
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


EPS = 1e-8


class RMSFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        xf = _acc(x)
        r = ((xf * xf).mean(-1, keepdim=True) + EPS).rsqrt()
        ctx.save_for_backward(x, w)
        ctx.faulty = faulty
        return (xf * r * _acc(w)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        xs = x.half() if ctx.faulty else _acc(x)
        r = ((xs * xs).mean(-1, keepdim=True) + EPS)
        r = _acc(r).rsqrt()
        xh, g = _acc(x) * r, _acc(dy) * _acc(w)
        dx = r * (g - xh * (g * xh).mean(-1, keepdim=True))
        return dx.to(x.dtype), (_acc(dy) * xh).sum(0).to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(55)
    row = 10 ** torch.empty(60, 1).uniform_(-3.4, -2.9, generator=gen)
    x = (torch.randn(60, 84, generator=gen) * row).half().requires_grad_()
    w = (1 + 0.2 * torch.randn(84, generator=gen)).half().requires_grad_()

    def reference(x, w):
        xf = _acc(x)
        return (xf / ((xf * xf).mean(-1, keepdim=True) + EPS).sqrt() * _acc(w)).to(x.dtype)

    def candidate(x, w):
        return RMSFn.apply(x, w, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
