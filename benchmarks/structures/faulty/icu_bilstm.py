"""https://github.com/mostafaalishahi/eICU_Benchmark/issues/1 (2020): per-time-step predictions from a bidirectional LSTM; the backward pass sees later steps."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "mostafaalishahi/eICU_Benchmark#1"
KIND = "future"
STEPS = 200


class Monitor(nn.Module):
    def __init__(self, fixed, f=6, h=40):
        super().__init__()
        self.inp = nn.Sequential(nn.Linear(f, 24), nn.Tanh())
        self.rnn = nn.LSTM(24, h, num_layers=1, batch_first=True, bidirectional=not fixed)
        self.head = nn.Linear(h if fixed else 2 * h, f)

    def forward(self, vitals):
        return self.head(self.rnn(self.inp(vitals))[0])


def data(seed, n=64, T=30, f=6):
    g = torch.Generator().manual_seed(seed)
    A = 0.9 * torch.linalg.qr(torch.randn(f, f, generator=torch.Generator().manual_seed(5)))[0]
    x = torch.randn(n, T + 1, f, generator=g)
    for t in range(1, T + 1):
        x[:, t] = x[:, t - 1] @ A + 0.6 * x[:, t]
    return (x - x.mean((0, 1))) / x.std((0, 1))


def make(seed, fixed):
    torch.manual_seed(seed)
    x = data(1)
    m = Monitor(fixed)
    return m, nn.SmoothL1Loss(), (x[:, :-1], x[:, 1:]), torch.optim.Adam(m.parameters(), 4e-3)
