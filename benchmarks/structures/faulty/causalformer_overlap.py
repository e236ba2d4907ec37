"""Multivariate forecaster: lookback of 32 steps, horizon of 8, GRU encoder and a linear head.

Fault: the data loader takes the target window as data[i - output_window : i], which is the end of
the input window data[i - time_step : i], so the "forecast" is a copy of the input.
Source: lingbai-kong/CausalFormer issue 8 (2025), "Why does the input window and output window overlap".
"""

import torch
import torch.nn as nn

KIND = "targets"
LOOK, HOR, N = 32, 8, 4


class Forecaster(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.rnn = nn.GRU(N, h, batch_first=True)
        self.head = nn.Linear(h, HOR * N)

    def forward(self, x):  # [B, LOOK, N]
        return self.head(self.rnn(x)[0][:, -1]).view(-1, HOR, N)


def window(series, i, fixed):
    x = series[i - LOOK : i]
    y = series[i : i + HOR] if fixed else series[i - HOR : i]
    return x, y


def make(seed, fixed):
    torch.manual_seed(seed)
    t = torch.arange(600).float()
    period = torch.tensor([12.0, 24.0, 17.0, 30.0])
    s = torch.sin(6.2832 * t[:, None] / period + 6 * torch.rand(N))
    s = s + 0.5 * s.roll(5, 1).roll(1, 0) + (0.05 * torch.randn(600, N)).cumsum(0) + 0.2 * torch.randn(600, N)
    s = (s - s.mean(0)) / s.std(0)
    pairs = [window(s, int(i), fixed) for i in torch.randint(LOOK, 600 - HOR, (32,))]
    x, y = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
    model = Forecaster()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, nn.MSELoss(), (x, y), opt
