"""https://github.com/pytorch/pytorch/issues/31984 (2020): loss on the derivative of the net with respect to its input, taken without create_graph; the term has no grad_fn."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "pytorch/pytorch#31984"
KIND = "terms"
STEPS = 200


class Potential(nn.Module):
    def __init__(self, atoms=5, h=48):
        super().__init__()
        self.register_buffer("mu", torch.linspace(0.3, 4.0, 16))
        self.pair = nn.Sequential(nn.Linear(16, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, 1))
        self.i, self.j = torch.triu_indices(atoms, atoms, 1)

    def forward(self, pos):
        r = (pos[:, self.i] - pos[:, self.j]).pow(2).sum(-1).add(1e-6).sqrt()
        return self.pair(torch.exp(-4 * (r[..., None] - self.mu) ** 2)).mean((1, 2))


def truth(pos, i, j):
    r = (pos[:, i] - pos[:, j]).pow(2).sum(-1).add(1e-6).sqrt()
    return ((1 - torch.exp(-1.5 * (r - 1.2))) ** 2).clamp(max=6).sum(1)


def data(seed, n=64):
    g = torch.Generator().manual_seed(seed)
    i, j = torch.triu_indices(5, 5, 1)
    base = torch.tensor([[0.0, 0, 0], [1.3, 0, 0], [0, 1.3, 0], [0, 0, 1.3], [1.1, 1.1, 1.1]])
    pos = (base + 0.15 * torch.randn(n, 5, 3, generator=g)).requires_grad_()
    e = truth(pos, i, j)
    f = -torch.autograd.grad(e.sum(), pos)[0]
    e = e.detach()
    return pos.detach(), (e - e.mean()) / e.std(), f / e.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Potential()
    pos, e, f = data(1)
    fs = f.std()

    def loss(model):
        x = pos.clone().requires_grad_()
        out = model(x)
        grad = torch.autograd.grad(out.sum(), x, retain_graph=True, create_graph=fixed)[0]
        return F.mse_loss(out, e) + F.mse_loss(-grad / fs, f / fs)

    return m, loss, None, torch.optim.Adam(m.parameters(), 3e-3)
