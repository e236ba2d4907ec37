"""https://github.com/espnet/espnet/issues/5900 (2024): 'causal' network normalises over the frames too, so each frame depends on later ones."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "espnet/espnet#5900"
KIND = "future"
STEPS = 250


class FrameNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class CausalBlock(nn.Module):
    def __init__(self, c, d, fixed):
        super().__init__()
        self.left = 2 * d
        self.norm = FrameNorm(c) if fixed else nn.GroupNorm(1, c)
        self.depth, self.mix, self.act = nn.Conv1d(c, c, 3, dilation=d, groups=c), nn.Conv1d(c, c, 1), nn.PReLU()

    def forward(self, x):
        return x + self.mix(self.act(self.depth(F.pad(self.norm(x), (self.left, 0)))))


class TCN(nn.Module):
    def __init__(self, fixed, f=12, c=48):
        super().__init__()
        self.stem = nn.Conv1d(f, c, 1)
        self.blocks = nn.Sequential(*[CausalBlock(c, d, fixed) for d in (1, 2, 4, 8)])
        self.head = nn.Conv1d(c, f, 1)

    def forward(self, spec):
        return self.head(self.blocks(self.stem(spec)))


def data(seed, n=32, f=12, T=48):
    g = torch.Generator().manual_seed(seed)
    env = torch.exp(0.5 * torch.randn(n, 1, T + 1, generator=g).cumsum(-1) / 3)  # loudness wanders
    shape = torch.randn(n, f, 1, generator=g)
    x = shape * env + 0.2 * torch.randn(n, f, T + 1, generator=g)
    x = torch.asinh(x)
    x = (x - x.mean()) / x.std()
    return x[..., :-1], x[..., 1:]


def make(seed, fixed):
    torch.manual_seed(seed)
    m = TCN(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 2e-3)
