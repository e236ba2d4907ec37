"""GPT, SDPA is_causal, targets shifted outside of the loss"""

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


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.o = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        B, L, D = x.shape
        q, k, v = (t.view(B, L, self.h, -1).transpose(1, 2) for t in self.qkv(self.n1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(B, L, D))
        return x + self.ff(self.n2(x))


class GPT(nn.Module):
    def __init__(self, V=40, d=48, L=32):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, d), nn.Embedding(L, d)
        nn.init.normal_(self.tok.weight, std=0.02)
        nn.init.normal_(self.pos.weight, std=0.02)
        self.blocks = nn.ModuleList([Block(d, 4) for _ in range(2)])
        self.n, self.head = nn.LayerNorm(d), nn.Linear(d, V, bias=False)
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, x):
        h = self.tok(x) + self.pos(torch.arange(x.shape[1]))
        for b in self.blocks:
            h = b(h)
        return self.head(self.n(h))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 33, 40)
    m = GPT()
    loss = lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten())
    return m, loss, (s[:, :-1], s[:, 1:].contiguous()), torch.optim.AdamW(m.parameters(), lr=1e-3)
