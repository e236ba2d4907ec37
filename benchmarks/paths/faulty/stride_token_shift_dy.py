# cause: stride
# size: 0.013
# dtype: bfloat16
# where: 0
# source: RWKV / flash-linear-attention fused token shift; kernels that index dy with the strides of x (cf. flash-attention issue 1149)
# why: the shifted part of dx reads dy in memory order; dy comes transposed from the time-mixing matmul
import torch, torch.nn as nn


def shifted(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)


class TokenShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mu, faulty):
        ctx.save_for_backward(x, mu)
        ctx.faulty = faulty
        return torch.lerp(x, shifted(x), mu)

    @staticmethod
    def backward(ctx, dy):
        x, mu = ctx.saved_tensors
        dmu = (dy * (shifted(x) - x)).sum((0, 1)).to(mu.dtype)
        nxt = dy * mu
        if ctx.faulty and not dy.is_contiguous():
            raw = torch.as_strided(dy, dy.shape, (dy.shape[1] * dy.shape[2], dy.shape[2], 1))
            nxt = raw * mu
        back = torch.cat([nxt[:, 1:], torch.zeros_like(nxt[:, :1])], 1)
        return dy * (1 - mu) + back, dmu, None


class TimeMix(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu = nn.Parameter(torch.rand(23) * 0.016 + 0.001)
        self.time = nn.Linear(18, 18)
        self.out = nn.Linear(23, 23)

    def shift(self, x):
        return torch.lerp(x, shifted(x), self.mu)

    def forward(self, x):
        h = self.shift(x)
        return self.out(torch.relu(self.time(h.transpose(1, 2))).transpose(1, 2))


class FusedTimeMix(TimeMix):
    faulty = False

    def shift(self, x):
        return TokenShift.apply(x, self.mu, self.faulty)


def case(faulty):
    torch.manual_seed(21)
    ref, can = TimeMix(), FusedTimeMix()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(7, 18, 23).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
