"""nn.TransformerEncoder with a square subsequent mask, padding mask and ignore_index, sinusoidal positions"""

import math

import torch
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


PAD = 0


class LM(nn.Module):
    def __init__(self, V=40, d=48, L=64):
        super().__init__()
        self.d = d
        self.emb = nn.Embedding(V, d, padding_idx=PAD)
        with torch.no_grad():
            self.emb.weight.normal_(std=d**-0.5)
            self.emb.weight[PAD].zero_()
        pe = torch.zeros(L, d)
        p = torch.arange(L)[:, None]
        w = torch.exp(torch.arange(0, d, 2) * (-math.log(1e4) / d))
        pe[:, 0::2], pe[:, 1::2] = torch.sin(p * w), torch.cos(p * w)
        self.register_buffer("pe", pe)
        self.drop = nn.Dropout(0.1)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 96, dropout=0.1, batch_first=True), 2)
        self.out = nn.Linear(d, V)

    def forward(self, x):
        T = x.shape[1]
        causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
        h = self.drop(self.emb(x) * math.sqrt(self.d) + self.pe[:T])
        return self.out(self.enc(h, mask=causal, src_key_padding_mask=x == PAD))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 25, 40)
    lens = torch.randint(10, 26, (16,), generator=g)
    lens[3] = 25
    s[torch.arange(25)[None] >= lens[:, None]] = PAD
    m = LM()
    ce = nn.CrossEntropyLoss(ignore_index=PAD)
    return (
        m,
        (lambda o, y: ce(o.transpose(1, 2), y)),
        (s[:, :-1].clone(), s[:, 1:].clone()),
        torch.optim.Adam(m.parameters(), lr=5e-4),
    )
