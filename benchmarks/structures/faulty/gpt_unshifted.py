"""https://github.com/Project-MONAI/GenerativeModels/issues/314 (2023): causal transformer over image codes, logits scored against the very token just read."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "Project-MONAI/GenerativeModels#314"
KIND = "targets"
STEPS = 200
V, D, L = 16, 40, 25


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.att = nn.MultiheadAttention(D, 4, bias=False, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(D, 120), nn.GELU(), nn.Linear(120, D))

    def forward(self, x, mask):
        h = self.n1(x)
        x = x + self.att(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.ff(self.n2(x))


class CodeGPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(L, D)
        for e in (self.tok, self.pos):
            nn.init.normal_(e.weight, std=0.1)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, V)

    def forward(self, codes):
        n = codes.shape[1]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1)
        x = self.tok(codes) + self.pos(torch.arange(n))
        for l in self.layers:
            x = l(x, mask)
        return self.head(self.norm(x))


def data(seed, n=64):
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(0, V, (n, 5, 5), generator=g)
    for i in range(1, 5):  # each code is its upper neighbour plus two, mostly
        s[:, i] = torch.where(torch.rand(n, 5, generator=g) < 0.85, (s[:, i - 1] + 2) % V, s[:, i])
    return s.flatten(1)


def make(seed, fixed):
    torch.manual_seed(seed)
    s = data(1)
    m = CodeGPT()

    def loss(o, t):
        if fixed:
            o, t = o[:, :-1], t[:, 1:]
        return F.cross_entropy(o.reshape(-1, V), t.reshape(-1))

    return m, loss, (s, s), torch.optim.AdamW(m.parameters(), 2e-3)
