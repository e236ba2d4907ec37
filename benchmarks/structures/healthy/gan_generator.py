"""generator loss through a frozen discriminator; BatchNorm generator with tanh output"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    real = torch.tanh(torch.randn(256, 3) @ torch.randn(3, 16))
    G = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 16), nn.Tanh())
    D = nn.Sequential(nn.Linear(16, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    o = torch.optim.Adam(D.parameters(), lr=1e-3)
    for i in range(20):
        with torch.no_grad():
            f = G(torch.randn(64, 8))
        o.zero_grad()
        r = D(real[torch.randint(0, 256, (64,))])
        (F.softplus(-r).mean() + F.softplus(D(f)).mean()).backward()
        o.step()
    D.requires_grad_(False)
    z = torch.randn(64, 8)
    return (
        G,
        (lambda fake, ones: F.binary_cross_entropy_with_logits(D(fake), ones)),
        (z, torch.ones(64, 1)),
        torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.5, 0.999)),
    )
