import torch
import torch.nn as nn
import wellposed as wp


class HeteroRegressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.mu = nn.Linear(32, 1)
        self.var = nn.Sequential(nn.Linear(32, 1), nn.Softplus())

    def forward(self, x):
        h = self.body(x)
        return self.mu(h), self.var(h) + 1e-6


def problem():
    torch.manual_seed(0)
    x = torch.rand(400, 1) * 4 - 2
    y = 0.1 * torch.sin(3 * x) + (0.01 + 0.02 * x.abs()) * torch.randn_like(x)
    crit = nn.GaussianNLLLoss()
    net = HeteroRegressor()
    return wp.TorchProblem(net, lambda out, t: crit(out[0], t, out[1]), (x, y),
                           optimizer=torch.optim.Adam(net.parameters(), lr=1e-2))
