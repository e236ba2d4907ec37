"""Convolutional forecaster for service metrics: window [B, 30, 3] (errors, cpu, memory), horizon 6.

Fault: the window is brought to [B, features, time] for Conv1d with view(-1, n_features, seq_len) in
place of a swap of the axes, so each channel holds interleaved values of all metrics.
Source: numaproj/numalogic pull 240 (2023), "fix: tensor dimension swap instead of view change".
"""

import torch
import torch.nn as nn

KIND = "order"
LOOK, HOR, N = 30, 6, 3


class ConvForecaster(nn.Module):
    def __init__(self, swap):
        super().__init__()
        self.swap = swap
        self.conv = nn.Sequential(nn.Conv1d(N, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, 32, 5, padding=2), nn.ReLU())
        self.head = nn.Linear(32 * LOOK, HOR * N)

    def forward(self, batch):
        x = torch.swapdims(batch, 1, 2) if self.swap else batch.view(-1, N, LOOK)
        return self.head(self.conv(x).flatten(1)).view(-1, HOR, N)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    t = torch.arange(LOOK + HOR).float()[None, :, None]
    f = torch.tensor([0.9, 0.35, 0.12])
    s = torch.sin(f * t + 6.28 * torch.rand(B, 1, N)) * (0.6 + torch.rand(B, 1, N))
    s[..., 1] += 0.7 * s[..., 0]
    s[..., 2] += 0.03 * torch.randn(B, 1) * t[0, :, 0]
    s = s + 0.1 * torch.randn(B, LOOK + HOR, N)
    s = (s - s.mean((0, 1))) / s.std((0, 1))
    model = ConvForecaster(swap=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    return model, nn.MSELoss(), (s[:, :LOOK].contiguous(), s[:, LOOK:].contiguous()), opt
