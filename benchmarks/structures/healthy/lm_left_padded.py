"""left padding, positions from the cumulative mask, nn.MultiheadAttention with an own mask for each row"""

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
        self.att = nn.MultiheadAttention(d, h, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(d, 3 * d), nn.GELU(), nn.Linear(3 * d, d))

    def forward(self, x, mask):
        y = self.n1(x)
        x = x + self.att(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.ff(self.n2(x))


class Net(nn.Module):
    def __init__(self, V=40, d=48, L=32):
        super().__init__()
        self.h = 4
        self.tok, self.pos = nn.Embedding(V, d), nn.Embedding(L, d)
        for e in (self.tok, self.pos):
            nn.init.normal_(e.weight, std=0.1)
        self.bl = nn.ModuleList([Block(d, self.h) for _ in range(2)])
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, V))

    def forward(self, ids, attn):
        B, T = ids.shape
        pos = (attn.long().cumsum(-1) - 1).clamp(min=0)
        forbid = torch.ones(T, T).triu(1).bool()[None] | ~attn.bool()[:, None, :]
        forbid = forbid & ~torch.eye(T, dtype=torch.bool)[None]  # a padded row sees itself: no NaN
        forbid = forbid.repeat_interleave(self.h, 0)
        x = self.tok(ids) + self.pos(pos)
        for b in self.bl:
            x = b(x, forbid)
        return self.out(x)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 25, 40)
    n = torch.randint(10, 26, (16,), generator=g)
    n[0] = 25
    real = torch.arange(25)[None] >= 25 - n[:, None]
    s = s * real
    labels = s.masked_fill(~real, -100)
    # the first real token has no context: its target is not asked for
    y = labels[:, 1:].clone()
    y[~real[:, :-1]] = -100
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=-100)),
        ((s[:, :-1], real[:, :-1].long()), y),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
