"""Discriminator step of a GAN with a zero-centred gradient penalty on the real examples (R1); the module
returns the scores of real and fake data and the penalty.

Fault: the input gradients are computed without create_graph, so the penalty is a constant to the
optimizer.
Source: brownvc/R3GAN issue 20 (2025), "Incorrect R1/R2 penalty because of second order gradients" (a user's version
with the penalty detached; the authors: "the penalty terms would be a constant to the optimization").
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "terms"


class Critic(nn.Module):
    def __init__(self, create_graph, c=32):
        super().__init__()
        self.create_graph = create_graph
        self.net = nn.Sequential(
            nn.Conv1d(1, c, 5, 2, 2),
            nn.SiLU(),
            nn.Conv1d(c, c, 5, 2, 2),
            nn.SiLU(),
            nn.Conv1d(c, c, 5, 2, 2),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(c * 8, 1),
        )

    def score(self, x):
        return self.net(x).squeeze(-1)

    def forward(self, real, fake):
        with torch.enable_grad():
            real = real.detach().requires_grad_(True)
            d_real = self.score(real)
            (g,) = torch.autograd.grad(d_real.sum(), real, create_graph=self.create_graph, retain_graph=True)
            r1 = g.square().sum((1, 2)).mean()
        return d_real, self.score(fake), r1


def make(seed, fixed):
    torch.manual_seed(seed)
    B, T = 24, 64
    t = torch.arange(T).float()
    real = torch.sin(t * (0.2 + 0.3 * torch.rand(B, 1, 1)) + 6.28 * torch.rand(B, 1, 1)) * 1.4
    fake = torch.nn.functional.avg_pool1d(2.0 * torch.randn(B, 1, T), 3, 1, 1)
    model = Critic(create_graph=fixed)

    def loss(out, _):
        d_real, d_fake, r1 = out
        return F.softplus(d_fake - d_real).mean() + 2.0 * r1

    opt = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.0, 0.99))
    return model, loss, ((real, fake), torch.zeros(1)), opt
