"""masked language model, 80/10/10 corruption, -100 at unselected places, padding mask, segments"""

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


class Bert(nn.Module):
    def __init__(self, V=50, d=48, L=32):
        super().__init__()
        self.word, self.pos, self.seg = nn.Embedding(V, d, padding_idx=0), nn.Embedding(L, d), nn.Embedding(2, d)
        self.ln, self.drop = nn.LayerNorm(d), nn.Dropout(0.1)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 4, 4 * d, 0.1, activation="gelu", batch_first=True), 2
        )
        self.dense, self.ln2, self.bias = nn.Linear(d, d), nn.LayerNorm(d), nn.Parameter(torch.zeros(V))
        for e in (self.word, self.pos, self.seg):
            nn.init.normal_(e.weight, std=0.02)
        with torch.no_grad():
            self.word.weight[0].zero_()

    def forward(self, input_ids, token_type_ids, attention_mask):
        x = self.word(input_ids) + self.pos(torch.arange(input_ids.shape[1])) + self.seg(token_type_ids)
        x = self.enc(self.drop(self.ln(x)), src_key_padding_mask=attention_mask == 0)
        return F.linear(self.ln2(F.gelu(self.dense(x))), self.word.weight, self.bias)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, T, V, MASK = 16, 28, 50, 2
    s = markov(g, B, T, V)
    n = torch.randint(16, T + 1, (B,), generator=g)
    n[0] = T
    am = (torch.arange(T)[None] < n[:, None]).long()
    s = s * am
    seg = (torch.arange(T)[None] >= n[:, None] // 2).long() * am
    r = torch.rand(B, T, generator=g)
    sel = (r < 0.15) & (am == 1)
    sel[:, 3] = True
    y = s.masked_fill(~sel, -100)
    u = torch.rand(B, T, generator=g)
    rnd = torch.randint(3, V, (B, T), generator=g)
    x = torch.where(sel & (u < 0.8), MASK, s)
    x = torch.where(sel & (u > 0.9), rnd, x)
    m = Bert()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.view(-1, V), y.view(-1))),
        ({"input_ids": x, "token_type_ids": seg, "attention_mask": am}, y),
        torch.optim.AdamW(m.parameters(), lr=5e-4, weight_decay=0.01),
    )
