"""https://github.com/dbiir/UER-py/pull/190 (2021): mean pooling over the hidden states counts the padding positions; contrastive sentence encoder."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "dbiir/UER-py#190"
KIND = "padding"
STEPS = 200
V, D = 80, 48


class SentenceEncoder(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.emb, self.pos = nn.Embedding(V, D, padding_idx=0), nn.Parameter(torch.randn(40, D) * 0.1)
        nn.init.normal_(self.emb.weight[1:].data, std=0.3)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(D), enable_nested_tensor=False)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def encode(self, ids):
        pad = ids == 0
        h = self.enc(self.emb(ids) + self.pos[: ids.shape[1]], src_key_padding_mask=pad)
        if self.fixed:
            w = (~pad).float()[..., None]
            h = (h * w).sum(1) / w.sum(1)
        else:
            h = h.mean(1)
        return F.normalize(h, dim=-1)

    def forward(self, a, b):
        return self.encode(a) @ self.encode(b).T * self.scale.exp()


def data(seed, n=64, L=36):
    g = torch.Generator().manual_seed(seed)
    bag = torch.stack([torch.randperm(V - 1, generator=g)[:5] + 1 for _ in range(n)])

    def view():
        out = torch.zeros(n, L, dtype=torch.long)
        for i in range(n):
            k = int(torch.randint(4, 15 if i % 4 else L, (1,), generator=g))
            out[i, :k] = torch.where(
                torch.rand(k, generator=g) < 0.75,
                bag[i, torch.randint(0, 5, (k,), generator=g)],
                torch.randint(1, V, (k,), generator=g),
            )
        return out

    return view(), view()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = SentenceEncoder(fixed)
    a, b = data(1)
    sym = lambda s, t: (F.cross_entropy(s, t) + F.cross_entropy(s.T, t)) / 2
    return m, sym, ((a, b), torch.arange(len(a))), torch.optim.AdamW(m.parameters(), 1e-3)
