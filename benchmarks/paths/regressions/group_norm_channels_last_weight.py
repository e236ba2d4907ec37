# cause: stride
# size: 0.24
# dtype: float32
# where: the parameter weight alone, for a channels-last input
# source: pytorch/pytorch issue 140913
# why: for a channels-last input the weight's sum reads the saved means by the wrong group (channel % groups)
import torch
from torch import nn


class GroupNormFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, groups, faulty):
        n, c = x.shape[:2]
        xg = x.reshape(n, groups, -1)
        mean = xg.mean(-1)
        rstd = torch.rsqrt((xg - mean[..., None]).square().mean(-1) + 1e-5)
        ctx.save_for_backward(x, w, mean, rstd)
        ctx.groups, ctx.faulty = groups, faulty
        xhat = ((xg - mean[..., None]) * rstd[..., None]).reshape(x.shape)
        return xhat * w[:, None, None] + b[:, None, None]

    @staticmethod
    def backward(ctx, g):
        x, w, mean, rstd = ctx.saved_tensors
        n, c = x.shape[:2]
        groups = ctx.groups
        channel = torch.arange(c)
        of = channel // (c // groups)
        xhat = (x - mean[:, of, None, None]) * rstd[:, of, None, None]
        gx, hx = ((t.reshape(n, groups, -1)) for t in (g * w[:, None, None], xhat))
        dx = rstd[..., None] * (gx - gx.mean(-1, keepdim=True) - hx * (gx * hx).mean(-1, keepdim=True))
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        if ctx.faulty and last:
            of = channel % groups
        # dweight from the sums ds = sum(g * x) and db = sum(g), as the kernels do it
        ds, db = (g * x).sum((2, 3)), g.sum((2, 3))
        dw = ((ds - db * mean[:, of]) * rstd[:, of]).sum(0)
        return dx.reshape(x.shape), dw, db.sum(0), None, None


class Norm(nn.Module):
    def __init__(self, own, faulty=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12) * 0.2 + 1)
        self.bias = nn.Parameter(torch.randn(12) * 0.2)
        self.own, self.faulty = own, faulty

    def forward(self, x):
        if self.own:
            return GroupNormFn.apply(x, self.weight, self.bias, 3, self.faulty)
        n = x.shape[0]
        xg = x.reshape(n, 3, -1)
        away = xg - xg.mean(-1, keepdim=True)
        xhat = (away * torch.rsqrt(away.square().mean(-1, keepdim=True) + 1e-5)).reshape(x.shape)
        return xhat * self.weight[:, None, None] + self.bias[:, None, None]


def case(faulty: bool) -> dict:
    torch.manual_seed(302)
    reference, candidate = Norm(False), Norm(True, faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(4, 12, 5, 6) + torch.randn(4, 12, 1, 1) * 0.5
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
