# cause: tail
# size: 0.063
# dtype: bfloat16
# where: parameter weight
# source: Liger-Kernel / Triton RMSNorm backward, partial dW sums per block of rows (textbook slip)
# why: partial sums of the weight gradient are taken over n_rows // block blocks, the remaining rows are lost
import torch
from torch import nn


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class RMSNormFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps, faulty):
        xf = _acc(x)
        rstd = ((xf * xf).mean(-1, keepdim=True) + eps).rsqrt()
        ctx.save_for_backward(x, w, rstd)
        ctx.faulty = faulty
        return (xf * rstd * _acc(w)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w, rstd = ctx.saved_tensors
        dyf, xhat = _acc(dy), _acc(x) * rstd
        g = dyf * _acc(w)
        dx = rstd * (g - xhat * (g * xhat).mean(-1, keepdim=True))
        rows, block = x.shape[0], 8
        n = rows // block if ctx.faulty else -(-rows // block)
        partial = torch.stack([(dyf[i * block:(i + 1) * block] * xhat[i * block:(i + 1) * block]).sum(0) for i in range(n)])
        return dx.to(x.dtype), partial.sum(0).to(w.dtype), None, None


class Ref(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.weight = nn.Parameter(w.clone())

    def forward(self, x):
        return x * ((x * x).mean(-1, keepdim=True) + 1e-6).rsqrt() * self.weight


class Cand(Ref):
    def __init__(self, w, faulty):
        super().__init__(w)
        self.faulty = faulty

    def forward(self, x):
        return RMSNormFn.apply(x, self.weight, 1e-6, self.faulty)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(19)
    w = (1 + 0.3 * torch.randn(24, generator=gen)).bfloat16()
    x = torch.randn(1203, 24, generator=gen).bfloat16().requires_grad_()
    return {"reference": Ref(w), "candidate": Cand(w, faulty), "inputs": (x,)}
