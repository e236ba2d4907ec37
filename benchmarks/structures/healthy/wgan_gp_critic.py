"""WGAN critic with gradient penalty, create_graph=True"""

import torch
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    a = torch.rand(64) * 6.28
    real = 1.4 * torch.stack([a.cos(), a.sin()], -1)
    fake = torch.randn(64, 2) * 0.7
    eps = torch.rand(64, 1)
    m = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1, bias=False)
    )

    def loss(critic):
        mix = (eps * real + (1 - eps) * fake).requires_grad_(True)
        (gr,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        return critic(fake).mean() - critic(real).mean() + 10.0 * ((gr.norm(dim=1) - 1) ** 2).mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=5e-4, betas=(0.0, 0.9))
