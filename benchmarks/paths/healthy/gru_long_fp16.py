# float16 GRU over 60 steps: hand-written cell backward with float32 gates against plain operations
import torch, torch.nn as nn, torch.nn.functional as F

H = 14


def up(t):
    return t if t.dtype == torch.float64 else t.float()


def gates(gi, gh):
    a, b = up(gi).chunk(3, -1), up(gh).chunk(3, -1)
    r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
    return r, z, torch.tanh(a[2] + r * b[2]), b[2]


class Cell(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gi, gh, h):
        ctx.save_for_backward(gi, gh, h)
        r, z, n, _ = gates(gi, gh)
        return (n + z * (up(h) - n)).to(h.dtype)

    @staticmethod
    def backward(ctx, do):
        gi, gh, h = ctx.saved_tensors
        r, z, n, hn = gates(gi, gh)
        g = up(do)
        an = g * (1 - z) * (1 - n * n)
        az = g * (up(h) - n) * z * (1 - z)
        ar = an * hn * r * (1 - r)
        return torch.cat([ar, az, an], -1).to(gi.dtype), torch.cat([ar, az, an * r], -1).to(gi.dtype), (g * z).to(h.dtype)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w_ih, self.w_hh = nn.Parameter(torch.randn(3 * H, 8) * 0.3), nn.Parameter(torch.randn(3 * H, H) * 0.2)
        self.b = nn.Parameter(torch.randn(3 * H) * 0.1)

    def cell(self, gi, gh, h):
        a, b = gi.chunk(3, -1), gh.chunk(3, -1)
        r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
        n = torch.tanh(a[2] + r * b[2])
        return (1 - z) * n + z * h

    def forward(self, x):
        h, gi = x.new_zeros(x.shape[0], H), F.linear(x, self.w_ih, self.b)
        for t in range(x.shape[1]):
            h = self.cell(gi[:, t], F.linear(h, self.w_hh), h)
        return h


class FusedNet(Net):
    def cell(self, gi, gh, h):
        return Cell.apply(gi, gh, h)


def case():
    torch.manual_seed(7)
    ref, can = Net(), FusedNet()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref.half(), "candidate": can.half(), "inputs": (torch.randn(4, 60, 8).half().requires_grad_(),)}
