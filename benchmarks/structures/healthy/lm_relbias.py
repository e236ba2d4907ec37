"""T5 style learned relative bias (bucketed), causal, no 1/sqrt(d) but scaled init"""

import math

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


def bucket(T, n=8):
    i = torch.arange(T)
    d = (i[:, None] - i[None]).clamp(min=0)
    big = 4 + (torch.log(d.float().clamp(min=1) / 4) / math.log(32 / 4) * (n - 4)).long().clamp(min=0)
    return torch.where(d < 4, d, big.clamp(max=n - 1))


class Layer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.n1, self.n2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        nn.init.normal_(self.q.weight, std=(d * d // h) ** -0.5)
        for l in (self.k, self.v, self.o):
            nn.init.normal_(l.weight, std=d**-0.5)
        self.wi, self.wo = nn.Linear(d, 3 * d, bias=False), nn.Linear(3 * d, d, bias=False)

    def forward(self, x, bias):
        B, T, D = x.shape
        y = self.n1(x)
        q, k, v = (f(y).view(B, T, self.h, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        w = F.softmax(q @ k.transpose(2, 3) + bias, -1)
        x = x + self.o((w @ v).transpose(1, 2).reshape(B, T, D))
        return x + self.wo(F.relu(self.wi(self.n2(x))))


class Dec(nn.Module):
    def __init__(self, V=40, d=48, h=4):
        super().__init__()
        self.emb, self.rel = nn.Embedding(V, d), nn.Embedding(8, h)
        nn.init.normal_(self.rel.weight, std=0.1)
        self.layers = nn.ModuleList([Layer(d, h) for _ in range(2)])
        self.norm, self.head = nn.RMSNorm(d), nn.Linear(d, V, bias=False)

    def forward(self, x):
        T = x.shape[1]
        bias = self.rel(bucket(T)).permute(2, 0, 1)[None]
        bias = bias + torch.triu(torch.full((T, T), -1e9), 1)
        h = self.emb(x)
        for l in self.layers:
            h = l(h, bias)
        return self.head(self.norm(h))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 33, 40, first=0)
    m = Dec()
    return (
        m,
        (lambda o, y: F.nll_loss(F.log_softmax(o, -1).flatten(0, 1), y.flatten())),
        (s[:, :-1], s[:, 1:]),
        torch.optim.Adam(m.parameters(), lr=1e-3),
    )
