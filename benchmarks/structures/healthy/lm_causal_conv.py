"""ConvS2S style gated convolutions, padded on the left"""

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


class CausalConv(nn.Module):
    def __init__(self, c, k):
        super().__init__()
        self.k, self.conv, self.norm = k, nn.Conv1d(c, 2 * c, k), nn.LayerNorm(c)

    def forward(self, x):  # [B, T, C]
        y = F.pad(self.norm(x).transpose(1, 2), (self.k - 1, 0))
        return x + F.glu(self.conv(y), 1).transpose(1, 2)


class Net(nn.Module):
    def __init__(self, V=40, c=48):
        super().__init__()
        self.emb = nn.Embedding(V, c)
        self.body = nn.Sequential(*[CausalConv(c, 4) for _ in range(3)])
        self.head = nn.Linear(c, V)

    def forward(self, x):
        return self.head(self.body(self.emb(x)))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 33, 40, first=0)
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.reshape(-1, 40), y.reshape(-1))),
        (s[:, :-1], s[:, 1:]),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
