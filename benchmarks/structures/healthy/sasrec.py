"""sequential recommendation: causal self-attention, target is the next item, sampled negatives, left to right"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class SASRec(nn.Module):
    def __init__(self, I=50, d=32, T=16):
        super().__init__()
        self.e, self.p = nn.Embedding(I, d, padding_idx=0), nn.Embedding(T, d)
        nn.init.normal_(self.p.weight, std=0.1)
        with torch.no_grad():
            self.e.weight[1:].normal_(std=0.1)
        self.n0, self.a, self.n1, self.f, self.n2 = (
            nn.LayerNorm(d),
            nn.MultiheadAttention(d, 2, batch_first=True),
            nn.LayerNorm(d),
            nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d)),
            nn.LayerNorm(d),
        )

    def forward(self, seq, pos, neg):
        T = seq.shape[1]
        h = self.e(seq) * self.e.embedding_dim**0.5 + self.p.weight[:T]
        h = (
            h
            + self.a(self.n0(h), h, h, attn_mask=~torch.tril(torch.ones(T, T, dtype=torch.bool)), need_weights=False)[0]
        )
        h = self.n2(h + self.f(self.n1(h)))
        return (h * self.e(pos)).sum(-1), (h * self.e(neg)).sum(-1)


def make(seed):
    torch.manual_seed(seed)
    B, T = 24, 15
    s = (torch.randint(0, 49, (B, 1)) + 3 * torch.arange(T + 1) + torch.randint(0, 2, (B, T + 1))) % 49 + 1
    n = torch.randint(6, T + 1, (B,))
    k = torch.arange(T)[None] < n[:, None]
    seq, pos = s[:, :-1] * k, s[:, 1:] * k
    neg = ((pos + torch.randint(4, 40, (B, T))) % 49 + 1) * k
    m = SASRec()
    w = k.float()

    def loss(o, w):
        return ((F.softplus(-o[0]) + F.softplus(o[1])) * w).sum() / w.sum()

    return m, loss, ((seq, pos, neg), w), torch.optim.Adam(m.parameters(), lr=3e-3, betas=(0.9, 0.98))
