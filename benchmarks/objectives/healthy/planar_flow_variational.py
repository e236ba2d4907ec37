import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class PlanarFlow(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, dim).uniform_(-0.5, 0.5))
        self.bias = nn.Parameter(torch.zeros(1))
        self.scale = nn.Parameter(torch.empty(1, dim).uniform_(-0.5, 0.5))

    def u_hat(self):
        wu = (self.weight * self.scale).sum()
        return self.scale + (F.softplus(wu) - 1 - wu) * self.weight / (self.weight ** 2).sum()

    def forward(self, z):
        u = self.u_hat()
        act = torch.tanh(F.linear(z, self.weight, self.bias))
        psi = (1 - act ** 2) * self.weight
        log_det = torch.log(torch.abs(1 + (psi * u).sum(1)) + 1e-8)
        return z + u * act, log_det


class Flow(nn.Module):
    def __init__(self, length=8):
        super().__init__()
        self.flows = nn.ModuleList([PlanarFlow(2) for _ in range(length)])

    def forward(self, z):
        ld = 0.
        for f in self.flows:
            z, l = f(z)
            ld = ld + l
        return z, ld


def log_target(z):
    """U1 of Rezende & Mohamed (2015), not normalised"""
    z1 = z[:, 0]
    u = 0.5 * ((z.norm(dim=1) - 2) / 0.4) ** 2
    return -u + torch.log(torch.exp(-0.5 * ((z1 - 2) / 0.6) ** 2) + torch.exp(-0.5 * ((z1 + 2) / 0.6) ** 2) + 1e-9)


def problem():
    torch.manual_seed(0)
    base = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))

    def free_energy(flow):
        z0 = base.sample((200,))
        zk, sum_log_det = flow(z0)
        return (base.log_prob(z0) - sum_log_det - log_target(zk)).mean()

    model = Flow()
    return wp.TorchProblem(model, free_energy, optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.5))
