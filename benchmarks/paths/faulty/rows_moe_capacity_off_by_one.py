# cause: wrong-rows
# size: 0.051
# dtype: bfloat16
# where: w2
# source: textbook (Switch/GShard dispatch by capacity, scatter in backward)
# why: backward keeps tokens with position < capacity - 1, so each full expert's last token gets no gradient
import torch, torch.nn as nn, torch.nn.functional as F

E, D, CAP = 3, 16, 290


class Experts(torch.autograd.Function):
    """buf[e, c] -> relu(buf @ w1) @ w2 with recomputation; `used` tokens per expert"""
    @staticmethod
    def forward(ctx, buf, w1, w2, used, faulty):
        ctx.save_for_backward(buf, w1, w2, used)
        ctx.faulty = faulty
        return torch.relu(buf @ w1) @ w2

    @staticmethod
    def backward(ctx, dy):
        buf, w1, w2, used = ctx.saved_tensors
        limit = used.clamp(max=CAP - 1) if ctx.faulty else used
        live = torch.arange(CAP)[None] < limit[:, None]
        dy = dy * live[..., None].to(dy.dtype)
        a = torch.relu(buf @ w1)
        dw2 = a.transpose(1, 2) @ dy
        da = (dy @ w2.transpose(1, 2)) * (a > 0)
        return da @ w1.transpose(1, 2), buf.transpose(1, 2) @ da, dw2, None, None


class Switch(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(D, E, bias=False)
        self.w1 = nn.Parameter(torch.randn(E, D, 28) / 4)
        self.w2 = nn.Parameter(torch.randn(E, 28, D) / 5)

    def experts(self, buf, used):
        return torch.relu(buf @ self.w1) @ self.w2

    def forward(self, x):
        p = self.router(x).softmax(-1)
        w, e = p.max(-1)
        hot = F.one_hot(e, E)
        pos = (hot.cumsum(0) * hot).sum(-1) - 1
        keep = pos < CAP
        slot = (e * CAP + pos)[keep]
        buf = x.new_zeros(E * CAP, D).index_copy(0, slot, x[keep]).view(E, CAP, D)
        y = self.experts(buf, hot.sum(0).clamp(max=CAP)).reshape(E * CAP, D)
        rows = keep.nonzero().flatten()
        return x.index_add(0, rows, y[slot] * w[keep, None])


class FusedSwitch(Switch):
    faulty = False

    def experts(self, buf, used):
        return Experts.apply(buf, self.w1, self.w2, used, self.faulty)


def case(faulty):
    torch.manual_seed(6)
    ref, can = Switch(), FusedSwitch()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(960, D).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
