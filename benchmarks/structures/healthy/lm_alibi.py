"""causal attention with ALiBi biases, no position embeddings"""

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


class Layer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.ln1, self.ln2 = h, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.o, self.f1, self.f2 = (
            nn.Linear(d, 3 * d),
            nn.Linear(d, d),
            nn.Linear(d, 3 * d),
            nn.Linear(3 * d, d),
        )
        self.register_buffer("slope", 2.0 ** (-8.0 * torch.arange(1, h + 1) / h))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
        i = torch.arange(T)
        dist = i[:, None] - i[None]
        bias = -self.slope[:, None, None] * dist.clamp(min=0)
        s = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(D // self.h) + bias
        s = s.masked_fill(dist < 0, torch.finfo(s.dtype).min)
        x = x + self.o(torch.einsum("bhij,bhjd->bihd", s.softmax(-1), v).reshape(B, T, D))
        return x + self.f2(F.gelu(self.f1(self.ln2(x))))


class Net(nn.Module):
    def __init__(self, V=40, d=48):
        super().__init__()
        self.e = nn.Embedding(V, d)
        nn.init.normal_(self.e.weight, std=0.1)
        self.l = nn.ModuleList([Layer(d, 4) for _ in range(2)])
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, V))

    def forward(self, x):
        h = self.e(x)
        for l in self.l:
            h = l(h)
        return self.head(h).transpose(1, 2)  # [B, V, T]


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 33, 40, first=0)
    m = Net()
    return m, nn.CrossEntropyLoss(), (s[:, :-1], s[:, 1:]), torch.optim.AdamW(m.parameters(), lr=1e-3)
