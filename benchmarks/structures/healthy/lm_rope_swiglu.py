"""Llama style: rotary positions, RMSNorm, SwiGLU, grouped key/value heads, additive -inf mask"""

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


def rope(x):
    T, D = x.shape[-2:]
    f = 1e4 ** (-torch.arange(0, D, 2).float() / D)
    a = torch.arange(T)[:, None] * f[None]
    c, s = torch.cat([a.cos()] * 2, -1), torch.cat([a.sin()] * 2, -1)
    h = D // 2
    return x * c + torch.cat([-x[..., h:], x[..., :h]], -1) * s


class Layer(nn.Module):
    def __init__(self, d, h, kv):
        super().__init__()
        self.h, self.kv, self.hd = h, kv, d // h
        self.n1, self.n2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.q, self.k, self.v = (
            nn.Linear(d, d, bias=False),
            nn.Linear(d, kv * self.hd, bias=False),
            nn.Linear(d, kv * self.hd, bias=False),
        )
        self.o = nn.Linear(d, d, bias=False)
        self.gate, self.up, self.down = (
            nn.Linear(d, 2 * d, bias=False),
            nn.Linear(d, 2 * d, bias=False),
            nn.Linear(2 * d, d, bias=False),
        )

    def forward(self, x, mask):
        B, T, D = x.shape
        y = self.n1(x)
        q = rope(self.q(y).view(B, T, self.h, self.hd).transpose(1, 2))
        k = rope(self.k(y).view(B, T, self.kv, self.hd).transpose(1, 2)).repeat_interleave(self.h // self.kv, 1)
        v = self.v(y).view(B, T, self.kv, self.hd).transpose(1, 2).repeat_interleave(self.h // self.kv, 1)
        w = (q @ k.mT / self.hd**0.5 + mask).softmax(-1)
        x = x + self.o((w @ v).transpose(1, 2).reshape(B, T, D))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, V=48, d=48, n=2):
        super().__init__()
        self.embed_tokens = nn.Embedding(V, d)
        self.layers = nn.ModuleList([Layer(d, 4, 2) for _ in range(n)])
        self.norm, self.lm_head = nn.RMSNorm(d), nn.Linear(d, V, bias=False)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.05)

    def forward(self, ids):
        T = ids.shape[1]
        mask = torch.full((T, T), float("-inf")).triu(1)
        x = self.embed_tokens(ids)
        for l in self.layers:
            x = l(x, mask)
        return self.lm_head(self.norm(x))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    ids = markov(g, 16, 30, 48, first=0)
    m = Llama()

    def loss(logits, ids):
        return F.cross_entropy(logits[:, :-1].reshape(-1, 48), ids[:, 1:].reshape(-1))

    return m, loss, (ids, ids), torch.optim.AdamW(m.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
