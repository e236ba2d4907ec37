"""https://github.com/huggingface/nanoVLM/pull/204 (2026): several documents packed in one row, positions restart but attention still crosses document bounds."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/nanoVLM#204"
KIND = "future"
STEPS = 400
V, K, D, L = 17, 4, 48, 30  # tokens 0..12 plain, 13..16 headers that set the stride


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.o = nn.Linear(D, 3 * D, bias=False), nn.Linear(D, D)
        self.mlp = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))

    def forward(self, x, allow):
        q, k, v = (z.unflatten(-1, (4, D // 4)).transpose(1, 2) for z in self.qkv(self.n1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=allow).transpose(1, 2).flatten(2)
        x = x + self.o(a)
        return x + self.mlp(self.n2(x))


class Packed(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(L, D)
        for e in (self.tok, self.pos):
            nn.init.normal_(e.weight, std=0.1)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(D)
        self.head = nn.Linear(D, V)

    def forward(self, input_ids, position_ids, document_ids):
        n = input_ids.shape[1]
        allow = torch.ones(n, n, dtype=torch.bool).tril()[None, None]
        if self.fixed:
            allow = allow & (document_ids[:, None, :, None] == document_ids[:, None, None, :])
        x = self.tok(input_ids) + self.pos(position_ids)
        for b in self.blocks:
            x = b(x, allow)
        return self.head(self.norm(x))


def data(seed, n=64):
    g = torch.Generator().manual_seed(seed)
    R = lambda a, b: int(torch.randint(a, b, (1,), generator=g))
    ids, pos, doc, lab = [], [], [], []
    for _ in range(n):
        i, p, d, l = [], [], [], []
        k = 0
        while len(i) < L:
            h, s, m = R(0, K), R(0, 13), R(6, 13)
            toks = [13 + h] + [(s + (1, 2, 4, 6)[h] * j) % 13 for j in range(m - 1)]
            i += toks
            p += range(m)
            d += [k] * m
            l += toks[1:] + [-100]
            k += 1
        ids.append(i[:L])
        pos.append(p[:L])
        doc.append(d[:L])
        lab.append(l[:L])
    return {
        "input_ids": torch.tensor(ids),
        "position_ids": torch.tensor(pos),
        "document_ids": torch.tensor(doc),
    }, torch.tensor(lab)


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Packed(fixed)
    return (
        m,
        lambda o, t: F.cross_entropy(o.flatten(0, 1), t.flatten(), ignore_index=-100),
        data(1),
        torch.optim.AdamW(m.parameters(), 2e-3),
    )
