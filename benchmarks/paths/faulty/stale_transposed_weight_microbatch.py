# cause: stale-cache
# size: 0.0097
# dtype: bfloat16
# where: 0
# source: TransformerEngine: cached transpose of the weight, refreshed only with is_first_microbatch=True
# why: the middle layer's backward uses the transpose cached before the last optimiser step
import torch, torch.nn as nn, torch.nn.functional as F


class CachedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, w_t):
        ctx.save_for_backward(x, w_t)
        return F.linear(x, w, b)

    @staticmethod
    def backward(ctx, dy):
        x, w_t = ctx.saved_tensors
        g, f = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
        return (dy @ w_t.t().to(dy.dtype)), g.t() @ f, g.sum(0), None


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.m, self.z = nn.Linear(22, 50), nn.Linear(50, 50), nn.Linear(50, 9)

    def mid(self, h):
        return self.m(h)

    def forward(self, x, t):
        return F.cross_entropy(self.z(F.silu(self.mid(F.silu(self.a(x))))).flatten(0, 1), t.flatten(), reduction="none")


class CachedMLP(MLP):
    refresh, cache = True, None

    def mid(self, h):
        if self.cache is None or self.refresh:
            self.cache = self.m.weight.detach().t().contiguous()
        return CachedLinear.apply(h, self.m.weight, self.m.bias, self.cache)


def case(faulty):
    torch.manual_seed(27)
    x = torch.randn(6, 14, 22).bfloat16()
    t = torch.randint(0, 9, (6, 14))
    can = CachedMLP().bfloat16()
    can(x, t).mean().backward()                       # first step, fills the cache
    with torch.no_grad():
        for p in can.parameters():
            p -= 0.0005 * p.grad.sign() * (torch.rand(p.shape) < 0.4)
            p.grad = None
    can.refresh = not faulty
    ref = MLP().bfloat16()
    ref.load_state_dict(can.state_dict())
    return {"reference": ref, "candidate": can, "inputs": (x.requires_grad_(), t)}
