# cause: missing-term
# size: 0.082
# dtype: bfloat16
# where: 0
# source: TransformerEngine PR 67: zero-centred gamma, two places of the backward need "+ 1"
# why: the row means in dx use gamma without the + 1
import torch, torch.nn as nn, torch.nn.functional as F

D = 210


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class LN1p(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, faulty):
        u = up(x)
        mu = u.mean(-1, keepdim=True)
        rs = torch.rsqrt(u.var(-1, unbiased=False, keepdim=True) + 1e-5)
        ctx.save_for_backward(x, gamma, mu, rs)
        ctx.faulty = faulty
        return ((u - mu) * rs * (1 + up(gamma)) + up(beta)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, gamma, mu, rs = ctx.saved_tensors
        hat, g = (up(x) - mu) * rs, up(dy)
        wdy = g * (1 + up(gamma))
        m = g * up(gamma) if ctx.faulty else wdy
        dx = rs * (wdy - m.mean(-1, keepdim=True) - hat * (m * hat).mean(-1, keepdim=True))
        dims = tuple(range(x.dim() - 1))
        return dx.to(x.dtype), (g * hat).sum(dims).to(gamma.dtype), g.sum(dims).to(gamma.dtype), None


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(30, D)
        self.gamma = nn.Parameter(torch.randn(D) * 0.1)
        self.beta = nn.Parameter(torch.zeros(D))
        self.up = nn.Linear(D, 110)
        self.down = nn.Linear(110, D)

    def norm(self, h):
        return F.layer_norm(h, (D,), 1 + self.gamma, self.beta)

    def forward(self, x):
        h = self.proj(x)
        return h + self.down(F.gelu(self.up(self.norm(h))))


class FusedBlock(Block):
    faulty = False

    def norm(self, h):
        return LN1p.apply(h, self.gamma, self.beta, self.faulty)


def case(faulty):
    torch.manual_seed(4)
    ref, can = Block(), FusedBlock()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(5, 17, 30).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
