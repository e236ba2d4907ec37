"""PINN for the heat equation: residual with second derivatives, boundary and initial terms"""

import math

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        for l in self.f:
            if isinstance(l, nn.Linear):
                nn.init.xavier_normal_(l.weight)
                nn.init.zeros_(l.bias)

    def forward(self, x, t):
        return self.f(torch.cat([x, t], -1))


def make(seed):
    torch.manual_seed(seed)
    x, t = 2 * torch.rand(128, 1) - 1, torch.rand(128, 1)
    xi = torch.linspace(-1, 1, 32)[:, None]
    tb = torch.rand(32, 1)
    m = Net()

    def loss(m):
        X, T = x.clone().requires_grad_(), t.clone().requires_grad_()
        u = m(X, T)
        ut, ux = torch.autograd.grad(u.sum(), (T, X), create_graph=True)
        (uxx,) = torch.autograd.grad(ux.sum(), X, create_graph=True)
        ic = m(xi, torch.zeros_like(xi)) + torch.sin(math.pi * xi)
        bc = torch.cat([m(torch.ones_like(tb), tb), m(-torch.ones_like(tb), tb)])
        return ((ut - 0.1 * uxx) ** 2).mean() + 5 * (ic**2).mean() + (bc**2).mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=2e-3)
