"""Bioacoustic classifier: filter-bank frames [B, T, F], transformer encoder, masked mean pooling.

Fault: the loader's mask has True for padding, which is what src_key_padding_mask wants, but it is
inverted on the way: the encoder attends to nothing but the padding.
Source: earthspecies/avex pull 26 (2025), "bug fix in padding -> beats and aves expect the inverse mask"
(also lucidrains/halonet-pytorch pull 6, 2026, "fix: invert attention padding mask").
"""

import torch
import torch.nn as nn

KIND = "padding"
T, FB, D, C = 40, 20, 48, 6


class AudioEncoder(nn.Module):
    def __init__(self, invert):
        super().__init__()
        self.invert = invert
        self.proj = nn.Linear(FB, D)
        self.pos = nn.Parameter(0.2 * torch.randn(1, T, D))
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D), enable_nested_tensor=False)
        self.fc = nn.Linear(D, C)

    def forward(self, fbank, padding_mask):
        mask = ~padding_mask if self.invert else padding_mask
        h = self.encoder(self.proj(fbank) + self.pos, src_key_padding_mask=mask)
        keep = (~padding_mask).unsqueeze(-1).float()
        return self.fc((h * keep).sum(1) / keep.sum(1))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 24
    y = torch.randint(0, C, (B,))
    lens = torch.randint(12, T - 3, (B,))  # clips are padded to a fixed window
    pad = torch.arange(T)[None] >= lens[:, None]
    t, f = torch.arange(T), torch.arange(FB)
    peak = 4 + 2 * (y % 3)[:, None] + 4 * torch.sin(t[None] * (0.2 + 0.25 * (y // 3)[:, None]) + 6 * torch.rand(B, 1))
    x = 2.5 * torch.exp(-(((f[None, None] - 4 - peak[..., None]) / 2.0) ** 2)) - 0.6 + 0.6 * torch.randn(B, T, FB)
    x = x.masked_fill(pad[..., None], 0.0)
    model = AudioEncoder(invert=not fixed)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return model, nn.CrossEntropyLoss(), ((x, pad), y), opt
