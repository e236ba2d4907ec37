"""documents packed into one row, block-diagonal causal mask, restarting positions"""

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
        self.h, self.n1, self.n2 = h, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.o, self.a, self.b = (
            nn.Linear(d, 3 * d),
            nn.Linear(d, d),
            nn.Linear(d, 3 * d),
            nn.Linear(3 * d, d),
        )

    def forward(self, x, mask):
        B, L, D = x.shape
        q, k, v = (t.view(B, L, self.h, -1).transpose(1, 2) for t in self.qkv(self.n1(x)).chunk(3, -1))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, L, D))
        return x + self.b(F.gelu(self.a(self.n2(x))))


class Net(nn.Module):
    def __init__(self, V=40, d=48, L=40):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, d), nn.Embedding(L, d)
        nn.init.normal_(self.tok.weight, std=0.1)
        nn.init.normal_(self.pos.weight, std=0.1)
        self.bl = nn.ModuleList([Block(d, 4) for _ in range(2)])
        self.n, self.head = nn.LayerNorm(d), nn.Linear(d, V)

    def forward(self, ids, doc, pos):
        T = ids.shape[1]
        mask = (doc[:, :, None] == doc[:, None, :]) & torch.ones(T, T, dtype=torch.bool).tril()
        x = self.tok(ids) + self.pos(pos)
        for b in self.bl:
            x = b(x, mask[:, None])
        return self.head(self.n(x))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, T = 12, 40
    ids = markov(g, B, T, 40)
    doc = torch.zeros(B, T, dtype=torch.long)
    pos = torch.zeros(B, T, dtype=torch.long)
    for b in range(B):
        cuts = sorted(set((torch.randperm(T - 12, generator=g)[:3] + 6).tolist()))
        edges = [0] + cuts + [T]
        for i, (s, e) in enumerate(zip(edges, edges[1:])):
            doc[b, s:e], pos[b, s:e], ids[b, s] = i, torch.arange(e - s), 1  # BOS
    y = torch.full((B, T), -100)
    y[:, :-1] = ids[:, 1:]
    y[:, :-1][doc[:, 1:] != doc[:, :-1]] = -100
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.view(-1, 40), y.view(-1), ignore_index=-100)),
        ((ids, doc, pos), y),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
