"""https://github.com/alex-matton/causal-transformer-decoder/issues/1 (2021): the decoder is trained on whole target sequences, yet no causal target mask reaches nn.TransformerDecoder."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "alex-matton/causal-transformer-decoder#1"
KIND = "future"
STEPS = 150
PAD, BOS, V = 0, 1, 26


class CausalDecoder(nn.TransformerDecoder):
    """wrapper which is meant to supply the triangle itself when training"""

    make_mask = True

    def forward(self, tgt, memory, memory_key_padding_mask=None):
        T = tgt.shape[1]
        tri = torch.ones(T, T, dtype=torch.bool).triu(1) if self.make_mask else None
        out = tgt
        for mod in self.layers:
            out = mod(out, memory, tgt_mask=tri, memory_key_padding_mask=memory_key_padding_mask)
        return self.norm(out)


class Translator(nn.Module):
    def __init__(self, d=40, make_mask=True):
        super().__init__()
        self.tok = nn.Embedding(V, d, padding_idx=PAD)
        self.pos = nn.Parameter(torch.randn(32, d) * 0.1)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 4, 80, 0.1, batch_first=True, norm_first=True), 1, enable_nested_tensor=False
        )
        self.dec = CausalDecoder(
            nn.TransformerDecoderLayer(d, 4, 80, 0.1, batch_first=True, norm_first=True), 2, nn.LayerNorm(d)
        )
        self.dec.make_mask = make_mask
        self.out = nn.Linear(d, V)

    def embed(self, x):
        return self.tok(x) + self.pos[: x.shape[1]]

    def forward(self, src, tgt_in):
        pad = src == PAD
        mem = self.enc(self.embed(src), src_key_padding_mask=pad)
        return self.out(self.dec(self.embed(tgt_in), mem, pad))


def pairs(seed, B=24, S=14, T=16):
    g = torch.Generator().manual_seed(seed)
    src = torch.randint(3, V, (B, S), generator=g)
    n = torch.randint(8, S + 1, (B,), generator=g)
    src[torch.arange(S) >= n[:, None]] = PAD
    start = src[:, :1]
    tgt = (start + torch.arange(T) * (src[:, 1:2] % 5 + 1) + torch.randint(0, 3, (B, T), generator=g).cumsum(1)) % (
        V - 3
    ) + 3
    tgt[torch.arange(T) >= (n + 2)[:, None]] = PAD
    return src, tgt


def make(seed, fixed):
    torch.manual_seed(seed)
    model = Translator(make_mask=fixed)
    src, tgt = pairs(seed + 1)
    tgt_in = torch.cat([torch.full((len(tgt), 1), BOS), tgt[:, :-1]], 1)
    crit = nn.CrossEntropyLoss(ignore_index=PAD)

    def loss(logits, y):
        return crit(logits.transpose(1, 2), y)

    return model, loss, ((src, tgt_in), tgt), torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
