import math
import torch
import torch.nn as nn
import wellposed as wp


class Coupling(nn.Module):
    def __init__(self, mask, hidden=32):
        super().__init__()
        self.register_buffer("mask", mask)
        d = len(mask)
        self.s = nn.Sequential(nn.Linear(d, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(),
                               nn.Linear(hidden, d), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(d, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(),
                               nn.Linear(hidden, d))

    def forward(self, x):
        xm = x * self.mask
        s, t = self.s(xm) * (1 - self.mask), self.t(xm) * (1 - self.mask)
        z = xm + (1 - self.mask) * (x - t) * torch.exp(-s)
        return z, -s.sum(1)


class RealNVP(nn.Module):
    def __init__(self, n=6):
        super().__init__()
        masks = [torch.tensor([0., 1.]), torch.tensor([1., 0.])]
        self.layers = nn.ModuleList(Coupling(masks[i % 2]) for i in range(n))

    def forward(self, x):
        logdet = x.new_zeros(len(x))
        for l in self.layers:
            x, ld = l(x)
            logdet = logdet + ld
        return x, logdet


def nll(out, _):
    z, logdet = out
    log_pz = -0.5 * (z ** 2).sum(1) - math.log(2 * math.pi)
    return -(log_pz + logdet).mean()


def problem():
    torch.manual_seed(0)
    a = torch.rand(256) * math.pi
    x = torch.stack([a.cos(), a.sin()], 1) * 0.3 + 0.03 * torch.randn(256, 2)   # small scale: NLL below zero
    flow = RealNVP()
    return wp.TorchProblem(flow, nll, (x, x), optimizer=torch.optim.Adam(flow.parameters(), lr=1e-4))
