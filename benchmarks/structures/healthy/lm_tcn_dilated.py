"""WaveNet style dilated causal stack (symmetric padding then chomp)"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class Chomp(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.n = n

    def forward(self, x):
        return x[:, :, : -self.n].contiguous()


class TBlock(nn.Module):
    def __init__(self, c, k, d):
        super().__init__()
        p = (k - 1) * d
        self.net = nn.Sequential(
            nn.Conv1d(c, c, k, padding=p, dilation=d),
            Chomp(p),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv1d(c, c, k, padding=p, dilation=d),
            Chomp(p),
            nn.ReLU(),
            nn.Dropout(0.1),
        )

    def forward(self, x):
        return F.relu(x + self.net(x))


class TCN(nn.Module):
    def __init__(self, V=40, c=48):
        super().__init__()
        self.emb = nn.Embedding(V, c)
        self.net = nn.Sequential(*[TBlock(c, 3, 2**i) for i in range(3)])
        self.out = nn.Conv1d(c, V, 1)

    def forward(self, x):
        return self.out(self.net(self.emb(x).transpose(1, 2)))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 33, 40, first=0)
    m = TCN()
    return m, F.cross_entropy, (s[:, :-1], s[:, 1:]), torch.optim.Adam(m.parameters(), lr=1e-3)
