"""rectified flow: velocity target x1 - x0, DiT style block with zero-initialised modulation"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, D=4, d=32, T=6):
        super().__init__()
        self.i, self.p = nn.Linear(D, d), nn.Parameter(torch.randn(T, d) * 0.1)
        self.c = nn.Sequential(nn.Linear(9, d), nn.SiLU())
        self.ada = nn.Linear(d, 6 * d)
        nn.init.zeros_(self.ada.weight)
        nn.init.zeros_(self.ada.bias)
        self.n1, self.n2 = nn.LayerNorm(d, elementwise_affine=False), nn.LayerNorm(d, elementwise_affine=False)
        self.att, self.ff, self.o = (
            nn.MultiheadAttention(d, 4, batch_first=True),
            nn.Sequential(nn.Linear(d, 64), nn.GELU(), nn.Linear(64, d)),
            nn.Linear(d, D),
        )

    def forward(self, x, t):
        k = torch.arange(1, 5) * math.pi * t[:, None]
        b1, s1, g1, b2, s2, g2 = self.ada(self.c(torch.cat([t[:, None], k.sin(), k.cos()], -1)))[:, None].chunk(6, -1)
        h = self.i(x) + self.p
        y = self.n1(h) * (1 + s1) + b1
        h = h + g1 * self.att(y, y, y, need_weights=False)[0]
        return self.o(h + g2 * self.ff(self.n2(h) * (1 + s2) + b2))


def make(seed):
    torch.manual_seed(seed)
    x1 = torch.sin(torch.arange(6)[None, :, None] + torch.rand(48, 1, 4) * 2) * 1.4
    x0 = torch.randn_like(x1)
    t = torch.rand(48)
    m = Net()
    return (
        m,
        F.mse_loss,
        (((1 - t)[:, None, None] * x0 + t[:, None, None] * x1, t), x1 - x0),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
