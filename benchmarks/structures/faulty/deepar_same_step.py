"""https://github.com/sktime/pytorch-forecasting/issues/182 (2020): recurrent probabilistic forecaster is fed the scaled target of the very step it has to predict."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "sktime/pytorch-forecasting#182"
KIND = "targets"
STEPS = 250


class DeepAR(nn.Module):
    def __init__(self, fixed, c=3, h=32):
        super().__init__()
        self.fixed = fixed
        self.rnn = nn.GRU(1 + c, h, num_layers=2, batch_first=True)
        self.mu, self.sig = nn.Linear(h, 1), nn.Linear(h, 1)

    def forward(self, covariates, history):
        y = history[..., None]
        if self.fixed:
            y = F.pad(y, (0, 0, 1, 0))[:, :-1]
        z, _ = self.rnn(torch.cat([y, covariates], -1))
        return self.mu(z)[..., 0], F.softplus(self.sig(z))[..., 0] + 1e-2


def data(seed, n=64, T=36):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(T).float()
    ph = torch.rand(n, 1, generator=g) * 12
    cov = torch.stack(
        [
            torch.sin(2 * math.pi * (t + ph) / 12),
            torch.cos(2 * math.pi * (t + ph) / 12),
            torch.randn(n, T, generator=g),
        ],
        -1,
    )
    y = torch.zeros(n, T)
    e = torch.randn(n, T, generator=g)
    for i in range(T):
        y[:, i] = (0.6 * y[:, i - 1] if i else 0) + cov[:, i, 0] + 0.4 * cov[:, i, 2] + 0.6 * e[:, i]
    y = (y - y.mean()) / y.std()
    return {"covariates": cov, "history": y}, y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = DeepAR(fixed)
    return (
        m,
        lambda o, y: (0.5 * ((y - o[0]) / o[1]) ** 2 + o[1].log()).mean(),
        data(1),
        torch.optim.Adam(m.parameters(), 3e-3),
    )
