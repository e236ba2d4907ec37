"""WaveNet over mu-law quantised audio: gated dilated convolutions with skip connections.

Fault: the dilated convolutions use padding='same' (half of the kernel lies in the future) where
causal padding is needed.
Source: peustr/wavenet issue 1 (the author's confirmation is of 2022-09-27), "Causal convolution".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "future"
Q = 32


class DilatedConv(nn.Conv1d):
    def __init__(self, cin, cout, k, dilation, causal):
        super().__init__(cin, cout, k, dilation=dilation, padding=0 if causal else "same")
        self.left = (k - 1) * dilation if causal else 0

    def forward(self, x):
        return super().forward(F.pad(x, (self.left, 0)))


class ResidualBlock(nn.Module):
    def __init__(self, c, s, dilation, causal):
        super().__init__()
        self.filt = DilatedConv(c, c, 3, dilation, causal)
        self.gate = DilatedConv(c, c, 3, dilation, causal)
        self.res, self.skip = nn.Conv1d(c, c, 1), nn.Conv1d(c, s, 1)

    def forward(self, x):
        z = torch.tanh(self.filt(x)) * torch.sigmoid(self.gate(x))
        return x + self.res(z), self.skip(z)


class WaveNet(nn.Module):
    def __init__(self, causal, c=32, s=32):
        super().__init__()
        self.embed = nn.Embedding(Q, c)
        self.blocks = nn.ModuleList(ResidualBlock(c, s, d, causal) for d in (1, 2, 4, 8))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(s, s, 1), nn.ReLU(), nn.Conv1d(s, Q, 1))

    def forward(self, wav):
        x, skips = self.embed(wav).transpose(1, 2), 0
        for b in self.blocks:
            x, s = b(x)
            skips = skips + s
        return self.head(skips)  # [B, Q, T]


def make(seed, fixed):
    torch.manual_seed(seed)
    B, T = 8, 129
    t = torch.arange(T).float()
    f = 0.05 + 0.25 * torch.rand(B, 2, 1)
    ph = 6.28 * torch.rand(B, 2, 1)
    w = 0.45 * torch.sin(6.28 * f * t + ph).sum(1) + 0.08 * torch.randn(B, T)
    mu = torch.sign(w) * torch.log1p(255 * w.abs().clamp(max=1)) / torch.log(torch.tensor(256.0))
    q = ((mu + 1) / 2 * (Q - 1)).round().long().clamp(0, Q - 1)
    model = WaveNet(causal=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, F.cross_entropy, (q[:, :-1], q[:, 1:].contiguous()), opt
