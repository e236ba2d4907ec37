"""convolutional noise prediction with class conditioning; fresh noise in each call of the loss"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.emb = nn.Embedding(4, 32)
        self.tm = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.a, self.n1, self.b, self.n2 = (
            nn.Conv2d(1, c, 3, padding=1),
            nn.GroupNorm(4, c),
            nn.Conv2d(c, 2 * c, 3, 2, 1),
            nn.GroupNorm(4, 2 * c),
        )
        self.pe, self.mid, self.n3 = nn.Linear(32, 2 * c), nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.GroupNorm(4, 2 * c)
        self.up, self.o = nn.ConvTranspose2d(2 * c, c, 2, 2), nn.Conv2d(2 * c, 1, 3, padding=1)

    def forward(self, x, t, y):
        w = t[:, None] * torch.exp(torch.linspace(0, 5, 8))
        e = self.tm(torch.cat([w.sin(), w.cos()], -1)) + self.emb(y)
        h1 = F.silu(self.n1(self.a(x)))
        h2 = F.silu(self.n2(self.b(h1)) + self.pe(e)[..., None, None])
        h2 = h2 + F.silu(self.n3(self.mid(h2)))
        return self.o(torch.cat([h1, self.up(h2)], 1))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 4, (32,))
    base = F.interpolate(torch.randn(4, 1, 4, 4), size=12, mode="bilinear")
    x0 = base[y] + 0.2 * torch.randn(32, 1, 12, 12)
    x0 = (x0 - x0.mean()) / x0.std()

    def loss(m):
        t = torch.rand(len(x0))
        a = torch.cos(t * math.pi / 2)[:, None, None, None]
        s = torch.sin(t * math.pi / 2)[:, None, None, None]
        e = torch.randn_like(x0)
        return F.mse_loss(m(a * x0 + s * e, t, y), e)

    m = Net()
    return m, loss, None, torch.optim.AdamW(m.parameters(), lr=2e-3)
