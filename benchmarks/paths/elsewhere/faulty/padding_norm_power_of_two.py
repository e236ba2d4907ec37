# cause: padding
# breaks: odd size
# dtype: float16
# where: all inputs and the output; a number of columns that is no power of two, where the row means are not 0
# source: NVIDIA/apex issue 1768 (wrong statistics when feature_num is not a power of two), simplified
# why: the lanes past the last column hold 0 and are not masked off: each adds mean**2 to the sum of squares
import torch


def statistics(x, faulty):
    d = x.shape[-1]
    block = 1 << (d - 1).bit_length() if d else 0
    lanes = torch.nn.functional.pad(x, (0, block - d))
    mean = lanes.sum(-1, keepdim=True) / d
    away = lanes - mean
    if not faulty:
        away = away * (torch.arange(block) < d)
    return mean, torch.rsqrt(away.square().sum(-1, keepdim=True) / d + 1e-5)


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, rstd = statistics(xa, faulty)
        ctx.save_for_backward(x, w, mean, rstd)
        return ((xa - mean) * rstd * w).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w, mean, rstd = ctx.saved_tensors
        xhat, ga = (x.to(mean.dtype) - mean) * rstd, g.to(mean.dtype)
        gw = ga * w
        dx = rstd * (gw - gw.mean(-1, keepdim=True) - xhat * (gw * xhat).mean(-1, keepdim=True))
        dw = (ga * xhat).flatten(0, -2).sum(0)
        return dx.to(x.dtype), dw.to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(103)
    x = (torch.randn(20, 64, generator=gen) + 3).half().requires_grad_()
    w = (torch.randn(64, generator=gen) * 0.2 + 1).half().requires_grad_()

    def reference(x, w):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        away = xa - xa.mean(-1, keepdim=True)
        return (away * torch.rsqrt(away.square().mean(-1, keepdim=True) + 1e-5) * w).to(x.dtype)

    def candidate(x, w):
        return LayerNorm.apply(x, w, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
