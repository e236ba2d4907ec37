"""bidirectional over the prefix, causal after it, loss only after the prefix"""

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


class Net(nn.Module):
    def __init__(self, V=40, d=48, L=32, h=4):
        super().__init__()
        self.h = h
        self.tok, self.pos = nn.Embedding(V, d), nn.Parameter(torch.randn(1, L, d) * 0.05)
        nn.init.normal_(self.tok.weight, std=0.2)
        self.ln = nn.ModuleList([nn.LayerNorm(d) for _ in range(5)])
        self.att = nn.ModuleList([nn.MultiheadAttention(d, h, batch_first=True) for _ in range(2)])
        self.ff = nn.ModuleList([nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d)) for _ in range(2)])
        self.head = nn.Linear(d, V)

    def forward(self, ids, plen):
        T = ids.shape[1]
        j = torch.arange(T)
        allowed = (j[None, None] <= j[None, :, None]) | (j[None, None] < plen[:, None, None])
        bad = (~allowed).repeat_interleave(self.h, 0)
        x = self.tok(ids) + self.pos[:, :T]
        for i in range(2):
            y = self.ln[2 * i](x)
            x = x + self.att[i](y, y, y, attn_mask=bad, need_weights=False)[0]
            x = x + self.ff[i](self.ln[2 * i + 1](x))
        return self.head(self.ln[4](x))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 31, 40)
    plen = torch.randint(6, 15, (16,), generator=g)
    y = s[:, 1:].clone()
    y[torch.arange(30)[None] < plen[:, None] - 1] = -100  # output plen-1 predicts the first suffix token
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=-100)),
        ((s[:, :-1], plen), y),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
