"""https://github.com/EDAPINENUT/GNTPP/issues/5 (2023): denoiser output compared with the noisy sample it was given, not with the noise."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "EDAPINENUT/GNTPP#5"
KIND = "targets"
STEPS = 300
T = 50
ABAR = torch.cumprod(1 - torch.linspace(1e-3, 0.15, T), 0)


class Denoiser(nn.Module):
    def __init__(self, d=2, h=96):
        super().__init__()
        self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(100.0), 16)))
        self.temb = nn.Sequential(nn.Linear(32, h), nn.SiLU(), nn.Linear(h, h))
        self.inp, self.mid, self.out = (
            nn.Linear(d, h),
            nn.Sequential(nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, h)),
            nn.Linear(h, d),
        )

    def forward(self, x, t):
        a = t.float()[:, None] / T * self.freq
        e = self.temb(torch.cat([a.sin(), a.cos()], -1))
        h = self.inp(x) + e
        return self.out(F.silu(h + self.mid(h)))


def data(seed, n=512):
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(0, 6, (n,), generator=g)
    a = k * math.pi / 3
    x0 = torch.stack([a.cos(), a.sin()], 1) * 1.4 + 0.1 * torch.randn(n, 2, generator=g)
    t = torch.randint(0, T, (n,), generator=g)
    eps = torch.randn(n, 2, generator=g)
    xt = ABAR[t].sqrt()[:, None] * x0 + (1 - ABAR[t]).sqrt()[:, None] * eps
    return xt, t, eps


def make(seed, fixed):
    torch.manual_seed(seed)
    xt, t, eps = data(1)
    m = Denoiser()
    return (
        m,
        lambda o, y: (o - y).square().mean(),
        ((xt, t), eps if fixed else xt),
        torch.optim.Adam(m.parameters(), 1e-3),
    )
