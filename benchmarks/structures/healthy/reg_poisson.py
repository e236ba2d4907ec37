"""Poisson regression with log link on counts and an exposure offset"""

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(6, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, x, log_exposure):
        return self.f(x).squeeze(-1) + log_exposure


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(128, 6)
    e = torch.rand(128) + 0.5
    y = torch.poisson(e * (0.5 * x[:, 0] - 0.4 * x[:, 1] + 0.3).exp())
    m = Net()
    return m, nn.PoissonNLLLoss(log_input=True), ((x, e.log()), y), torch.optim.Adam(m.parameters(), lr=3e-3)
