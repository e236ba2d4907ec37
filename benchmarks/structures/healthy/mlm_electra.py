"""replaced-token detection: bidirectional, binary label of every token"""

import torch
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


class Disc(nn.Module):
    def __init__(self, V=40, d=48, L=32):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Parameter(torch.randn(L, d) * 0.1)
        nn.init.normal_(self.e.weight, std=0.3)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 96, 0.0, batch_first=True), 2)
        self.h = nn.Linear(d, 1)

    def forward(self, x):
        return self.h(self.enc(self.e(x) + self.p[: x.shape[1]])).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 28, 40, first=0)
    r = torch.randint(0, 40, s.shape, generator=g)
    c = torch.where(torch.rand(s.shape, generator=g) < 0.3, r, s)
    m = Disc()
    return m, nn.BCEWithLogitsLoss(), (c, (c != s).float()), torch.optim.AdamW(m.parameters(), lr=1e-3)
