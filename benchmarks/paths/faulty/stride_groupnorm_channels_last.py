# cause: stride
# size: 1.4
# dtype: float32
# where: parameter weight
# source: pytorch/pytorch issue 140913, "NHWC GroupNorm weight gradient error"
# why: the weight gradient's kernel reads the channels-last input as if it were NCHW-contiguous
import torch
from torch import nn


def _raw(t):
    st, n = [], 1
    for s in reversed(t.shape):
        st.insert(0, n)
        n *= s
    return t.as_strided(t.shape, st)


class GNFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, groups, eps, faulty):
        n = x.shape[0]
        xg = x.reshape(n, groups, -1)
        mean = xg.mean(-1)
        rstd = (xg.var(-1, unbiased=False) + eps).rsqrt()
        ctx.save_for_backward(x, w, mean, rstd)
        ctx.groups, ctx.faulty = groups, faulty
        y = ((xg - mean[..., None]) * rstd[..., None]).reshape(x.shape) * w[:, None, None] + b[:, None, None]
        return y.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx, dy):
        x, w, mean, rstd = ctx.saved_tensors
        n, c = x.shape[:2]
        per = c // ctx.groups
        m = mean.repeat_interleave(per, 1)[..., None, None]
        r = rstd.repeat_interleave(per, 1)[..., None, None]
        xhat = (x - m) * r
        g = (dy * w[:, None, None]).reshape(n, ctx.groups, -1)
        xh = xhat.reshape(n, ctx.groups, -1)
        dx = (g - g.mean(-1, keepdim=True) - xh * (g * xh).mean(-1, keepdim=True)) * rstd[..., None]
        xw = (_raw(x) - m) * r if ctx.faulty else xhat
        dw = (dy * xw).sum((0, 2, 3))
        return dx.reshape(x.shape), dw, dy.sum((0, 2, 3)), None, None, None


class Ref(nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.weight, self.bias = nn.Parameter(w.clone()), nn.Parameter(b.clone())

    def forward(self, x):
        return nn.functional.group_norm(x.contiguous(), 4, self.weight, self.bias)


class Cand(Ref):
    def __init__(self, w, b, faulty):
        super().__init__(w, b)
        self.faulty = faulty

    def forward(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        return GNFn.apply(x, self.weight, self.bias, 4, 1e-5, self.faulty)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(24)
    w = 1 + 0.2 * torch.randn(12, generator=gen)
    b = torch.randn(12, generator=gen)
    x = torch.randn(3, 12, 9, 11, generator=gen).contiguous(memory_format=torch.channels_last).requires_grad_()
    return {"reference": Ref(w, b), "candidate": Cand(w, b, faulty), "inputs": (x,)}
