"""normalising flow, negative log likelihood of the model, last coupling layers zero-initialised"""

import math

import torch
from torch import nn

torch.set_num_threads(1)


class Flow(nn.Module):
    def __init__(self, D=4, n=4):
        super().__init__()
        self.n = nn.ModuleList([nn.Sequential(nn.Linear(D // 2, 32), nn.Tanh(), nn.Linear(32, D)) for _ in range(n)])
        for s in self.n:
            nn.init.zeros_(s[2].weight)
            nn.init.zeros_(s[2].bias)

    def forward(self, x):
        ld = 0.0
        for s in self.n:
            a, b = x.chunk(2, -1)
            ls, t = s(a).chunk(2, -1)
            ls = torch.tanh(ls)
            x = torch.cat([b * ls.exp() + t, a], -1)
            ld = ld + ls.sum(-1)
        return x, ld


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(128, 4)
    x[:, 2] += x[:, 0] ** 2
    x[:, 3] += torch.sin(2 * x[:, 1])
    x = (x - x.mean(0)) / x.std(0)
    m = Flow()

    def loss(model):
        z, ld = model(x)
        return (0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum(-1).mean() - ld.mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=3e-3)
