"""https://github.com/DiffPoseTalk/DiffPoseTalk/issues/20 (2024): pe[:, n] for pe[:, :n]: one and the same encoding is added to every step."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "DiffPoseTalk/DiffPoseTalk#20"
KIND = "order"
STEPS = 250


class PositionalEncoding(nn.Module):
    def __init__(self, d, fixed, maxlen=64):
        super().__init__()
        self.fixed = fixed
        t = torch.arange(maxlen)[:, None]
        w = torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d))
        pe = torch.zeros(1, maxlen, d)
        pe[0, :, 0::2], pe[0, :, 1::2] = torch.sin(t * w), torch.cos(t * w)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + (self.pe[:, : x.shape[1]] if self.fixed else self.pe[:, x.shape[1]])


class Motion(nn.Module):
    def __init__(self, fixed, f=6, d=48):
        super().__init__()
        self.inp, self.pe = nn.Linear(f, d), PositionalEncoding(d, fixed)
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(d, f)

    def forward(self, audio):
        return self.out(self.enc(self.pe(self.inp(audio))))


def data(seed, n=64, T=20, f=6):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, T, f, generator=g)
    W = torch.linalg.qr(torch.randn(f, f, generator=torch.Generator().manual_seed(2)))[0]
    y = (x + x.roll(1, 1) * (torch.arange(T) > 0)[:, None]) @ W  # pose follows the present and the last frame
    return x, (y - y.mean()) / y.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Motion(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 1e-3)
