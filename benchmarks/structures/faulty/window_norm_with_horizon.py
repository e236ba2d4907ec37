"""https://github.com/shiyu-coder/Kronos/issues/227 (2026): each sample is normalised by mean and std of the full window, forecast horizon included, before the autoregressive predictor reads it."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "shiyu-coder/Kronos#227"
KIND = "future"
STEPS = 150
LOOKBACK, HORIZON = 40, 10


class Predictor(nn.Module):
    """teacher forced over the window; returns the next normalised bar for each step of the horizon, with the scale used"""

    def __init__(self, features=5, hidden=40, scale_by_history=True):
        super().__init__()
        self.scale_by_history = scale_by_history
        self.proj, self.rnn, self.head = (
            nn.Linear(features, hidden),
            nn.GRU(hidden, hidden, 2, batch_first=True),
            nn.Linear(hidden, features),
        )

    def instance_stats(self, window):
        ref = window[:, :LOOKBACK] if self.scale_by_history else window
        return ref.mean(1, keepdim=True), ref.std(1, keepdim=True) + 1e-5

    def forward(self, window):
        mu, sd = self.instance_stats(window)
        z = ((window - mu) / sd).clamp(-5, 5)
        h, _ = self.rnn(torch.tanh(self.proj(z)))
        step = self.head(h[:, LOOKBACK - 1 : -1]) + z[:, LOOKBACK - 1 : -1]  # residual on the last known bar
        return step * sd + mu


def bars(seed, n=48):
    g = torch.Generator().manual_seed(seed)
    L = LOOKBACK + HORIZON
    r = torch.randn(n, L, 5, generator=g)
    for t in range(1, L):
        r[:, t] = 0.6 * r[:, t - 1] + 0.8 * r[:, t]
    x = r + 0.15 * r.cumsum(1)
    return (x - x.mean()) / x.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    x = bars(seed + 20)
    model = Predictor(scale_by_history=fixed)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    return model, nn.SmoothL1Loss(), (x, x[:, LOOKBACK:]), opt
