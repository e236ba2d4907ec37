"""Hamiltonian net: vector field from the gradient of a scalar net, inside of forward"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class HNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(2, 48), nn.Linear(48, 48), nn.Linear(48, 1, bias=False)

    def forward(self, z):
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            H = self.c(torch.tanh(self.b(torch.tanh(self.a(z)))))
            (g,) = torch.autograd.grad(H.sum(), z, create_graph=True)
        return torch.stack([g[:, 1], -g[:, 0]], -1)


def make(seed):
    torch.manual_seed(seed)
    z = torch.randn(96, 2)
    y = torch.stack([z[:, 1], -torch.sin(z[:, 0])], -1)
    m = HNN()
    return m, F.mse_loss, (z, y), torch.optim.Adam(m.parameters(), lr=3e-3)
