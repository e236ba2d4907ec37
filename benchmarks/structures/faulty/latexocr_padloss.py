"""Formula image to LaTeX tokens: CNN encoder, transformer decoder with cross attention.

Fault: the cross entropy keeps its default ignore_index (-100) while the padding token is 0, so the
model is trained to write [PAD] after every formula's end.
Source: lukas-blecher/LaTeX-OCR pull 443 (2026), "fix: set cross_entropy ignore_index to PAD token index (#305)".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "padding"
PAD, BOS, EOS, V, D, L = 0, 1, 2, 26, 48, 14


class OCR(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 24, 3, 2, 1), nn.GELU(), nn.Conv2d(24, D, 3, 2, 1), nn.GELU())
        self.img_pos = nn.Parameter(0.1 * torch.randn(1, 24, D))
        self.tok, self.pos = nn.Embedding(V, D, padding_idx=PAD), nn.Embedding(L, D)
        layer = nn.TransformerDecoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2, nn.LayerNorm(D))
        self.out = nn.Linear(D, V)

    def forward(self, image, tgt_in):
        mem = self.cnn(image).flatten(2).transpose(1, 2) + self.img_pos
        n = tgt_in.shape[1]
        x = self.tok(tgt_in) + self.pos(torch.arange(n))
        causal = torch.ones(n, n, dtype=torch.bool).triu(1)
        x = self.decoder(x, mem, tgt_mask=causal, tgt_key_padding_mask=tgt_in == PAD)
        return self.out(x)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 16
    glyph = torch.randn(6, 8, 4)
    img, seq = 0.2 * torch.randn(B, 1, 8, 48), torch.full((B, L + 1), PAD)
    for b in range(B):
        n = int(torch.randint(2, 9, (1,)))
        s = torch.randint(0, 6, (n,))
        for i, g in enumerate(s):
            img[b, 0, :, 5 * i : 5 * i + 4] += glyph[g]
        toks = [BOS] + [3 + int(g) + (6 if int(i) % 2 else 0) for i, g in enumerate(s)] + [EOS]
        seq[b, : len(toks)] = torch.tensor(toks)
    model = OCR()
    ignore_index = PAD if fixed else -100

    def loss(logits, target):
        return F.cross_entropy(logits.transpose(1, 2), target, ignore_index=ignore_index)

    opt = torch.optim.AdamW(model.parameters(), lr=1.5e-3)
    return model, loss, ((img, seq[:, :-1].contiguous()), seq[:, 1:].contiguous()), opt
