"""https://github.com/KIC/pandas-ml-quant/issues/25 (2021): target column shifted forward in place of backward: the return to be predicted is one already inside the window."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "KIC/pandas-ml-quant#25"
KIND = "targets"
STEPS = 250


class WindowNet(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(2, 16, 3), nn.ReLU(), nn.Conv1d(16, 16, 3, stride=2), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16 * 6, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, window):
        return self.head(self.conv(window))[:, 0]


def series(seed, T=700):
    g = torch.Generator().manual_seed(seed)
    e = torch.randn(T, generator=g)
    vol = torch.randn(T, generator=g)
    r = torch.zeros(T)
    for t in range(2, T):
        r[t] = 0.5 * r[t - 1] - 0.3 * r[t - 2] + 0.4 * math.tanh(float(vol[t - 1])) + 0.6 * e[t]
    return (r - r.mean()) / r.std(), vol


def data(seed, fixed, w=16):
    r, vol = series(seed)
    X, y = [], []
    shift = 1 if fixed else -1  # y[t] = r[t + shift]
    for t in range(w, len(r) - 1):
        X.append(torch.stack([r[t - w + 1 : t + 1], vol[t - w + 1 : t + 1]]))
        y.append(r[t + shift])
    return torch.stack(X), torch.stack(y)


def make(seed, fixed):
    torch.manual_seed(seed)
    m = WindowNet()
    return m, nn.MSELoss(), data(1, fixed), torch.optim.AdamW(m.parameters(), 1e-3, weight_decay=1e-2)
