import torch
import torch.nn as nn
import wellposed as wp


class DeepAR(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.mean = nn.Linear(hidden, 1)
        self.log_var = nn.Linear(hidden, 1)

    def forward(self, series):
        h, _ = self.lstm(series)
        return self.mean(h), self.log_var(h)


def gaussian_nll(dist, y):
    mean, log_var = dist
    precision = torch.exp(-log_var)
    return torch.mean(-0.5 * log_var + 0.5 * precision * (y - mean) ** 2)


def problem():
    torch.manual_seed(0)
    t = torch.arange(41.)
    phase = 6.28 * torch.rand(48, 1)
    s = torch.sin(0.35 * t + phase) + 0.25 * torch.randn(48, 41)
    s = s.unsqueeze(-1)
    model = DeepAR()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    return wp.TorchProblem(model, gaussian_nll, (s[:, :-1], s[:, 1:]), optimizer=optimizer)
