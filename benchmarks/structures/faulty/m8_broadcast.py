"""One-step-ahead forecaster (horizon 1), time-first windows [T, B, N], LSTM; the loss is written by hand.

Fault: the prediction is [B, 1], the target [B]; their difference is a [B, B] matrix, so every
prediction is drawn to the mean of the targets.
Source: jsboige/CoursIA pull 926 (2026), "MSE broadcasting bug pred_len=1 in M8 archi" (also BY571/QR-DQN issue 1, 2023).
"""

import torch
import torch.nn as nn

KIND = "range"
LOOK, N = 30, 3


class LSTMForecaster(nn.Module):
    def __init__(self, pred_len=1, h=48):
        super().__init__()
        self.lstm = nn.LSTM(N, h)
        self.head = nn.Linear(h, pred_len)

    def forward(self, x):  # [T, B, N]
        return self.head(self.lstm(x)[0][-1])


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    t = torch.arange(LOOK + 1).float()[:, None]
    base = torch.sin(t * (0.2 + 0.5 * torch.rand(B)) + 6.28 * torch.rand(B))
    price = base + 0.05 * torch.randn(LOOK + 1, B).cumsum(0)
    vol = price.roll(2, 0) * 0.7 + 0.5 * torch.randn(LOOK + 1, B)
    x = torch.stack([price, vol, torch.cos(t * 0.3).expand(-1, B)], -1)
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    y = x[-1, :, 0].clone()

    def loss(pred, y):
        if fixed:
            y = y.view_as(pred)
        return ((pred - y) ** 2).mean()

    model = LSTMForecaster()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    return model, loss, (x[:-1].contiguous(), y), opt
