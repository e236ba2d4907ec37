"""https://github.com/hyunwoongko/transformer/pull/40 (2025): pad mask broadcast along the query axis: keys at padding stay visible, whole rows become masked (uniform)."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "hyunwoongko/transformer#40"
KIND = "padding"
STEPS = 250
V, D, H = 12, 48, 4


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(D, D, bias=False) for _ in range(3))
        self.o = nn.Linear(D, D)

    def split(self, x):
        return x.view(*x.shape[:2], H, D // H).transpose(1, 2)

    def forward(self, x, mask):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        s = (q @ k.transpose(2, 3)) / math.sqrt(D // H)
        s = s.masked_fill(mask == 0, -10000.0).softmax(-1)
        return self.o((s @ v).transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(32, D)
        for e in (self.tok, self.pos):
            nn.init.normal_(e.weight, std=0.2)
        self.att = nn.ModuleList(Attention() for _ in range(2))
        self.n1, self.n2 = (nn.ModuleList(nn.LayerNorm(D) for _ in range(2)) for _ in range(2))
        self.ff = nn.ModuleList(nn.Sequential(nn.Linear(D, 96), nn.ReLU(), nn.Linear(96, D)) for _ in range(2))
        self.head = nn.Linear(D, V - 2)

    def forward(self, src):
        real = src != 0
        mask = real[:, None, None, :] if self.fixed else real[:, None, :, None]
        x = self.tok(src) + self.pos(torch.arange(src.shape[1]))
        for a, n1, n2, f in zip(self.att, self.n1, self.n2, self.ff):
            x = x + a(n1(x), mask)
            x = x + f(n2(x))
        return self.head(x[:, 0])  # position 0 holds the class token, id 1


def data(seed, n=128, L=24):
    g = torch.Generator().manual_seed(seed)
    s = torch.zeros(n, L, dtype=torch.long)
    y = torch.randint(0, V - 2, (n,), generator=g)
    for i in range(n):  # the commonest symbol names the class
        k = int(torch.randint(5, 12, (1,), generator=g))
        w = torch.randint(2, V, (k,), generator=g)
        w[torch.rand(k, generator=g) < 0.5] = y[i] + 2
        s[i, 0] = 1
        s[i, 1 : k + 1] = w
        y[i] = torch.bincount(w, minlength=V).argmax() - 2
    return s, y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Encoder(fixed)
    return m, nn.CrossEntropyLoss(), data(1), torch.optim.AdamW(m.parameters(), 1e-3)
