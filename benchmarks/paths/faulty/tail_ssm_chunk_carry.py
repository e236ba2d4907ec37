# cause: tail
# size: 0.036
# dtype: float16
# where: inp.weight
# source: state-spaces/mamba issue 368 and Mamba-2 chunked scan backward: the partial last chunk
# why: the state gradient of the partial last chunk is not carried into the chunk before
import torch, torch.nn as nn, torch.nn.functional as F

C = 16


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class ChunkScan(torch.autograd.Function):
    """h_t = a_t h_{t-1} + u_t along dim 1"""
    @staticmethod
    def forward(ctx, a, u, faulty):
        h, hs = torch.zeros_like(up(u[:, 0])), []
        for t in range(u.shape[1]):
            h = up(a[:, t]) * h + up(u[:, t])
            hs.append(h)
        out = torch.stack(hs, 1)
        ctx.save_for_backward(a, out)
        ctx.faulty, ctx.dt = faulty, u.dtype
        return out.to(u.dtype)

    @staticmethod
    def backward(ctx, dy):
        a, hs = ctx.saved_tensors
        L = dy.shape[1]
        da, du = torch.zeros_like(hs), torch.zeros_like(hs)
        carry = torch.zeros_like(hs[:, 0])
        for lo in reversed(range(0, L, C)):
            hi = min(lo + C, L)
            for t in reversed(range(lo, hi)):
                g = up(dy[:, t]) + carry
                du[:, t] = g
                if t:
                    da[:, t] = g * hs[:, t - 1]
                carry = g * up(a[:, t])
            if ctx.faulty and hi - lo < C:
                carry = torch.zeros_like(carry)
        return da.to(a.dtype), du.to(ctx.dt), None


def plain(a, u):
    h, hs = torch.zeros_like(u[:, 0]), []
    for t in range(u.shape[1]):
        h = a[:, t] * h + u[:, t]
        hs.append(h)
    return torch.stack(hs, 1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(20, 20)
        self.dt = nn.Linear(20, 20)
        self.log_a = nn.Parameter(torch.rand(20) * 0.5)
        self.out = nn.Linear(20, 20)

    def scan(self, a, u):
        return plain(a, u)

    def forward(self, x):
        delta = F.softplus(self.dt(x))
        a = torch.exp(-delta * self.log_a.exp())
        h = self.scan(a, delta * self.inp(x))
        return self.out(h * F.silu(x))


class FusedBlock(Block):
    faulty = False

    def scan(self, a, u):
        return ChunkScan.apply(a, u, self.faulty)


def case(faulty):
    torch.manual_seed(23)
    ref, can = Block(), FusedBlock()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(3, 107, 20).half().requires_grad_()
    return {"reference": ref.half(), "candidate": can.half(), "inputs": (x,)}
