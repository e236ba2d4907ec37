"""DDPM noise prediction, time embedding, fixed batch of noisy points and their noise"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, D=2, h=96):
        super().__init__()
        self.t = nn.Sequential(nn.Linear(16, h), nn.SiLU(), nn.Linear(h, h))
        self.i, self.m1, self.m2, self.o = nn.Linear(D, h), nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, D)

    def forward(self, x, t):
        f = t[:, None].float() * torch.exp(-torch.arange(8) * math.log(1e3) / 8)
        e = self.t(torch.cat([f.sin(), f.cos()], -1))
        h = self.i(x)
        h = h + self.m1(F.silu(h + e))
        h = h + self.m2(F.silu(h))
        return self.o(F.silu(h))


def make(seed):
    torch.manual_seed(seed)
    a = torch.rand(128) * 2 * math.pi
    x0 = torch.stack([a.cos(), a.sin()], -1) * 1.4
    ab = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 100), 0)
    t = torch.randint(0, 100, (128,))
    eps = torch.randn_like(x0)
    xt = ab[t].sqrt()[:, None] * x0 + (1 - ab[t]).sqrt()[:, None] * eps
    m = Net()
    return m, F.mse_loss, ((xt, t), eps), torch.optim.AdamW(m.parameters(), lr=2e-3)
