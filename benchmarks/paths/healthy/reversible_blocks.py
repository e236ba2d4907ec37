# reversible residual network: inputs rebuilt from outputs in backward (float32 rounding only) against plain autograd
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.g = (nn.ModuleList([nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.Tanh())
                                         for _ in range(4)]) for _ in range(2))

    def forward(self, x):
        a, b = x.chunk(2, -1)
        for f, g in zip(self.f, self.g):
            a = a + f(b)
            b = b + g(a)
        return torch.cat([a, b], -1)


class Rev(torch.autograd.Function):
    @staticmethod
    def forward(ctx, net, x, *params):
        with torch.no_grad():
            y = Net.forward(net, x)
        ctx.net = net
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        a, b = ctx.saved_tensors[0].chunk(2, -1)
        da, db = dy.chunk(2, -1)
        got = {}
        for f, g in zip(reversed(ctx.net.f), reversed(ctx.net.g)):
            with torch.enable_grad():
                ai = a.detach().requires_grad_()
                o = g(ai)
                gs = torch.autograd.grad(o, (ai, *g.parameters()), db)
            b, da = b - o.detach(), da + gs[0]
            got.update(zip(map(id, g.parameters()), gs[1:]))
            with torch.enable_grad():
                bi = b.detach().requires_grad_()
                o = f(bi)
                gs = torch.autograd.grad(o, (bi, *f.parameters()), da)
            a, db = a - o.detach(), db + gs[0]
            got.update(zip(map(id, f.parameters()), gs[1:]))
        return (None, torch.cat([da, db], -1), *(got[id(p)] for p in ctx.net.parameters()))


class RevNet(Net):
    def forward(self, x):
        return Rev.apply(self, x, *self.parameters())


def case():
    torch.manual_seed(18)
    ref, can = Net(), RevNet()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref, "candidate": can, "inputs": (torch.randn(11, 6, 32).requires_grad_(),)}
