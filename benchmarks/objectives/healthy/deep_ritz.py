import torch
import torch.nn as nn
import wellposed as wp


class Block(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.a, self.b = nn.Linear(m, m), nn.Linear(m, m)

    def forward(self, x):
        return x + torch.tanh(self.b(torch.tanh(self.a(x))))


def sample_boundary(n):
    t = torch.rand(n, 1)
    z, o = torch.zeros_like(t), torch.ones_like(t)
    return torch.cat([torch.cat(p, 1) for p in ((t, z), (t, o), (z, t), (o, t))])


def ritz_energy(net, beta=500.):
    """-laplace(u) = 1 on the unit square, u = 0 on its boundary"""
    x = torch.rand(512, 2, requires_grad=True)
    u = net(x)
    du, = torch.autograd.grad(u.sum(), x, create_graph=True)
    interior = (0.5 * (du ** 2).sum(1) - u.squeeze(1)).mean()
    boundary = (net(sample_boundary(64)) ** 2).mean()
    return interior + beta * boundary


def problem():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 10), Block(10), Block(10), nn.Linear(10, 1))
    return wp.TorchProblem(net, ritz_energy, optimizer=torch.optim.Adam(net.parameters(), lr=1e-3))
