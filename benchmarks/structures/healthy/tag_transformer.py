"""transformer encoder tagger, padding mask, learned positions, -100 on padding"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Tagger(nn.Module):
    def __init__(self, V=60, d=48, K=6, L=24):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, d, padding_idx=0), nn.Embedding(L, d)
        nn.init.normal_(self.pos.weight, std=0.3)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 96, 0.1, batch_first=True), 2)
        self.out = nn.Linear(d, K)

    def forward(self, x):
        h = self.tok(x) + self.pos(torch.arange(x.shape[1]))
        return self.out(self.enc(h, src_key_padding_mask=x.eq(0)))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, T = 24, 20
    n = torch.randint(8, T + 1, (B,), generator=g)
    n[0] = T
    x = torch.randint(1, 60, (B, T), generator=g) * (torch.arange(T)[None] < n[:, None])
    left = torch.cat([torch.zeros(B, 1, dtype=torch.long), x[:, :-1]], 1)
    y = (x % 3 + 3 * (left > x).long()).masked_fill(x == 0, -100)
    m = Tagger()
    return m, (lambda o, y: F.cross_entropy(o.transpose(1, 2), y)), (x, y), torch.optim.AdamW(m.parameters(), lr=1e-3)
