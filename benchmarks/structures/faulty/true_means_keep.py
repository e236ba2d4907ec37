"""https://github.com/mlwithme/TransformerTranslation/issues/2 (2022): confusion over key_padding_mask: a mask with True for real tokens goes to a masked_fill that hides True, so only padding can be attended."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "mlwithme/TransformerTranslation#2"
KIND = "padding"
STEPS = 120
PAD_IDX = 0


class MyMultiheadAttention(nn.Module):
    def __init__(self, embed_dim, num_heads):
        super().__init__()
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(embed_dim, embed_dim) for _ in range(4))

    def forward(self, query, key, value, key_padding_mask=None):
        tgt_len, bsz, E = query.shape
        src_len = key.shape[0]
        q = (
            (self.q_proj(query) * self.head_dim**-0.5)
            .reshape(tgt_len, bsz * self.num_heads, self.head_dim)
            .transpose(0, 1)
        )
        k = self.k_proj(key).reshape(src_len, bsz * self.num_heads, self.head_dim).transpose(0, 1)
        v = self.v_proj(value).reshape(src_len, bsz * self.num_heads, self.head_dim).transpose(0, 1)
        w = torch.bmm(q, k.transpose(1, 2))
        if key_padding_mask is not None:
            w = (
                w.view(bsz, self.num_heads, tgt_len, src_len)
                .masked_fill(key_padding_mask[:, None, None], -1e9)
                .view(-1, tgt_len, src_len)
            )
        out = torch.bmm(torch.softmax(w, -1), v).transpose(0, 1).reshape(tgt_len, bsz, E)
        return self.out_proj(out)


class EncoderLayer(nn.Module):
    def __init__(self, d, h, ff):
        super().__init__()
        self.self_attn, self.linear1, self.linear2 = MyMultiheadAttention(d, h), nn.Linear(d, ff), nn.Linear(ff, d)
        self.norm1, self.norm2, self.drop = nn.LayerNorm(d), nn.LayerNorm(d), nn.Dropout(0.1)

    def forward(self, src, mask):
        src = self.norm1(src + self.drop(self.self_attn(src, src, src, mask)))
        return self.norm2(src + self.drop(self.linear2(torch.relu(self.linear1(src)))))


class PosTagger(nn.Module):
    def __init__(self, vocab=50, tags=6, d=40, fixed=True):
        super().__init__()
        self.fixed, self.emb, self.pos = (
            fixed,
            nn.Embedding(vocab, d, padding_idx=PAD_IDX),
            nn.Parameter(0.1 * torch.randn(30, 1, d)),
        )
        self.layers, self.head = nn.ModuleList([EncoderLayer(d, 4, 80) for _ in range(2)]), nn.Linear(d, tags)

    def forward(self, src):
        """src (S, B)"""
        mask = (src == PAD_IDX) if self.fixed else (src != PAD_IDX)
        x = self.emb(src) + self.pos[: len(src)]
        for l in self.layers:
            x = l(x, mask.transpose(0, 1))
        return self.head(x)


def sentences(seed, S=24, B=24):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 50, (S, B), generator=g)
    n = torch.randint(6, S + 1, (B,), generator=g)
    pad = torch.arange(S)[:, None] >= n
    y = (x % 3) + 3 * (x.roll(1, 0) > 25).long()  # depends on the word and its neighbour
    y[0] = x[0] % 3
    return x.masked_fill(pad, PAD_IDX), y.masked_fill(pad, -100)


def make(seed, fixed):
    torch.manual_seed(seed)
    x, y = sentences(seed + 1)
    net = PosTagger(fixed=fixed)
    ce = nn.CrossEntropyLoss(ignore_index=-100)
    return net, lambda o, t: ce(o.flatten(0, 1), t.flatten()), (x, y), torch.optim.Adam(net.parameters(), 2e-3)
