"""https://github.com/jsbaan/transformer-from-scratch/pull/6 (2026): heads merged by reshape without the permute; time steps and heads are mixed."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "jsbaan/transformer-from-scratch#6"
KIND = "order"
STEPS = 300
V, D, H, L = 13, 48, 4, 12


class MHA(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.qkv, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D)

    def forward(self, x):
        B, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(B, n, H, 3 * D // H).permute(0, 2, 1, 3).chunk(3, -1)
        val = (q @ k.mT / math.sqrt(D // H)).softmax(-1) @ v
        if self.fixed:
            val = val.permute(0, 2, 1, 3)
        return self.out(val.reshape(B, n, D))


class Tagger(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(L, D)
        for e in (self.tok, self.pos):
            nn.init.normal_(e.weight, std=0.3)
        self.a, self.n = nn.ModuleList(MHA(fixed) for _ in range(2)), nn.ModuleList(nn.LayerNorm(D) for _ in range(5))
        self.f = nn.ModuleList(nn.Sequential(nn.Linear(D, 96), nn.GELU(), nn.Linear(96, D)) for _ in range(2))
        self.head = nn.Linear(D, V)

    def forward(self, ids):
        x = self.tok(ids) + self.pos.weight
        for i in range(2):
            x = x + self.a[i](self.n[2 * i](x))
            x = x + self.f[i](self.n[2 * i + 1](x))
        return self.head(self.n[4](x))


def data(seed, n=128):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, V, (n, L), generator=g)
    return x, (3 * x.flip(1) + 1) % V  # relabelled mirror image


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Tagger(fixed)
    return (
        m,
        lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten()),
        data(1),
        torch.optim.AdamW(m.parameters(), 2e-3),
    )


def score(m):
    x, y = data(2)
    with torch.no_grad():
        return float((m(x).argmax(-1) == y).float().mean())
