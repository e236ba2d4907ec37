"""https://github.com/peustr/wavenet/issues/1 (2018): gated dilated convolutions padded 'same' on both sides in place of causally; next sample visible."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "peustr/wavenet#1"
KIND = "future"
STEPS = 250


class Gate(nn.Module):
    def __init__(self, c, dil, causal):
        super().__init__()
        self.f, self.g = nn.Conv1d(c, c, 3, dilation=dil), nn.Conv1d(c, c, 3, dilation=dil)
        self.res, self.skip = nn.Conv1d(c, c, 1), nn.Conv1d(c, c, 1)
        self.pad = (2 * dil, 0) if causal else (dil, dil)

    def forward(self, x):
        p = F.pad(x, self.pad)
        h = torch.tanh(self.f(p)) * torch.sigmoid(self.g(p))
        return x + self.res(h), self.skip(h)


class WaveNet(nn.Module):
    def __init__(self, causal, c=24):
        super().__init__()
        self.first = nn.Conv1d(1, c, 1)
        self.blocks = nn.ModuleList(Gate(c, d, causal) for d in (1, 2, 4, 8))
        del self.blocks[-1].res  # unused in the last one
        self.post = nn.Sequential(nn.ReLU(), nn.Conv1d(c, c, 1), nn.ReLU(), nn.Conv1d(c, 1, 1))

    def forward(self, wav):
        x, skips = self.first(wav), 0
        for b in self.blocks[:-1]:
            x, s = b(x)
            skips = skips + s
        last = self.blocks[-1]
        p = F.pad(x, last.pad)
        skips = skips + last.skip(torch.tanh(last.f(p)) * torch.sigmoid(last.g(p)))
        return self.post(skips)


def data(seed, n=48, T=80):
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, T + 1)
    e = torch.randn(n, T + 1, generator=g)
    for t in range(2, T + 1):
        x[:, t] = 1.6 * x[:, t - 1] - 0.8 * x[:, t - 2] + e[:, t]
    x = (x - x.mean()) / x.std()
    return x[:, None, :-1], x[:, None, 1:]


def make(seed, fixed):
    torch.manual_seed(seed)
    m = WaveNet(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 2e-3)
