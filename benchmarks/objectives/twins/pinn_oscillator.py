import math
import torch
import torch.nn as nn
import wellposed as wp

# damped oscillator  u'' + mu u' + k u = 0,  u(0)=1, u'(0)=0
MU, K = 0.8, 25.0


class FCN(nn.Module):
    def __init__(self, n_in=1, n_out=1, n_hidden=24, n_layers=3):
        super().__init__()
        act = nn.Tanh
        self.fcs = nn.Sequential(nn.Linear(n_in, n_hidden), act())
        self.fch = nn.Sequential(*[nn.Sequential(nn.Linear(n_hidden, n_hidden), act())
                                   for _ in range(n_layers - 1)])
        self.fce = nn.Linear(n_hidden, n_out)

    def forward(self, t):
        return self.fce(self.fch(self.fcs(t)))


def exact(t):
    w = math.sqrt(K - MU ** 2 / 4)
    return torch.exp(-MU / 2 * t) * (torch.cos(w * t) + MU / (2 * w) * torch.sin(w * t))


def problem():
    torch.manual_seed(0)
    t_data = torch.linspace(0, 0.7, 10).view(-1, 1)
    u_data = exact(t_data)
    t_phys = torch.linspace(0, 2, 40).view(-1, 1).requires_grad_(True)
    model = FCN()

    def pinn_loss(net):
        data = torch.mean((net(t_data) - u_data) ** 2)
        u = net(t_phys)
        du = torch.autograd.grad(u, t_phys, torch.ones_like(u), create_graph=True)[0]
        d2u = torch.autograd.grad(du, t_phys, torch.ones_like(du), create_graph=True)[0]
        residual = d2u + MU * du + K * u
        physics = 1e-3 * torch.mean(residual ** 2)
        return data + physics

    return wp.TorchProblem(model, pinn_loss, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3))
