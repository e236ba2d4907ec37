"""Next-k-step forecaster with a residual head: at every time step t of [T, B, N] (time first) it predicts the
differences of the next 4 steps to the value at t; causal (unidirectional) LSTM. Targets are built by unfold."""

import torch
import torch.nn as nn

T, N, K = 40, 2, 4


class ResidualForecaster(nn.Module):
    def __init__(self, h=48):
        super().__init__()
        self.rnn, self.head = nn.LSTM(N, h), nn.Linear(h, K * N)

    def forward(self, x):  # [T, B, N] -> [T, B, N, K]
        delta = self.head(self.rnn(x)[0]).view(*x.shape, K)
        return x.unsqueeze(-1) + delta


def make(seed):
    torch.manual_seed(seed)
    B = 16
    t = torch.arange(T + K).float()[:, None, None]
    s = torch.sin(t * (0.15 + 0.35 * torch.rand(B, N)) + 6.28 * torch.rand(B, N)) + 0.05 * torch.randn(
        T + K, B, N
    ).cumsum(0)
    s = (s - s.mean()) / s.std()
    y = s[1:].unfold(0, K, 1)[:T]
    model = ResidualForecaster()
    return model, nn.MSELoss(), (s[:T].contiguous(), y.contiguous()), torch.optim.Adam(model.parameters(), lr=3e-3)
