"""https://github.com/lingbai-kong/CausalFormer/issues/8 (2025): the output window data[i-output_window:i] is the tail of the input window data[i-time_step:i]; the forecaster is asked for its own last inputs."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "lingbai-kong/CausalFormer#8"
KIND = "targets"
STEPS = 150


class TimeseriesWindows:
    def __init__(self, data, time_step, output_window, gap):
        self.items = []
        for i in range(time_step, len(data) + 1 - output_window):
            j = i + gap
            self.items.append((data[i - time_step : i], data[j - output_window : j]))

    def batch(self, n, g):
        idx = torch.randperm(len(self.items), generator=g)[:n]
        return tuple(torch.stack(z) for z in zip(*(self.items[i] for i in idx)))


class Mixer(nn.Module):
    """series-mixing forecaster: (B, L, N) -> (B, H, N)"""

    def __init__(self, L, H, N, d=48):
        super().__init__()
        self.time = nn.Sequential(nn.LayerNorm(L), nn.Linear(L, d), nn.GELU(), nn.Linear(d, L))
        self.chan = nn.Sequential(nn.LayerNorm(N), nn.Linear(N, d), nn.GELU(), nn.Linear(d, N))
        self.out = nn.Linear(L, H)

    def forward(self, x):
        x = x + self.time(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.chan(x)
        return self.out(x.transpose(1, 2)).transpose(1, 2)


def lorenz96(seed, steps=600, N=8, F_=8.0, dt=0.01):
    g = torch.Generator().manual_seed(seed)
    x, out = F_ + 0.5 * torch.randn(N, generator=g), []
    for t in range(8 * steps + 800):
        x = x + dt * ((x.roll(-1) - x.roll(2)) * x.roll(1) - x + F_)
        if t >= 800 and t % 8 == 0:
            out.append(x)
    y = torch.stack(out)
    y = (y - y.mean(0)) / y.std(0)
    return y + 0.1 * torch.randn(y.shape, generator=g)


def make(seed, fixed):
    torch.manual_seed(seed)
    H = 4
    ds = TimeseriesWindows(lorenz96(seed), 24, H, gap=H if fixed else 0)
    x, y = ds.batch(96, torch.Generator().manual_seed(seed))
    m = Mixer(24, H, 8)
    return m, nn.MSELoss(), (x, y), torch.optim.Adam(m.parameters(), lr=2e-3)
