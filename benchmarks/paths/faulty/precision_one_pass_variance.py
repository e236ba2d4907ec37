# cause: precision
# size: 0.016
# dtype: float32
# where: input 0 (x)
# source: textbook (variance as E[x^2]-E[x]^2 in float32)
# why: the batch norm backward recomputes the variance in one pass; with a mean of about 400 most digits cancel
import torch


class BNFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        mean = x.mean(0)
        rstd = ((x - mean).square().mean(0) + 1e-5).rsqrt()
        ctx.save_for_backward(x, w)
        ctx.faulty = faulty
        return (x - mean) * rstd * w + b

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        mean = x.mean(0)
        if ctx.faulty:
            x32 = x.float()
            var = (x32 * x32).mean(0) - x32.mean(0).square()
            var = var.clamp_min(0).to(x.dtype)
        else:
            var = (x - mean).square().mean(0)
        rstd = (var + 1e-5).rsqrt()
        xh = (x - mean) * rstd
        g = dy * w
        dx = rstd * (g - g.mean(0) - xh * (g * xh).mean(0))
        return dx, (dy * xh).sum(0), dy.sum(0), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(56)
    x = (torch.randn(190, 33, generator=gen) + 330 + 150 * torch.rand(33, generator=gen)).requires_grad_()
    w = (1 + 0.1 * torch.randn(33, generator=gen)).requires_grad_()
    b = torch.randn(33, generator=gen).requires_grad_()

    def reference(x, w, b):
        c = x - x.mean(0)
        return c / ((c * c).mean(0) + 1e-5).sqrt() * w + b

    def candidate(x, w, b):
        return BNFn.apply(x, w, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
