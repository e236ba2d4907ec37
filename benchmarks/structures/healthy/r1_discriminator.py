"""GAN discriminator, non-saturating loss with R1 penalty on real data, generator frozen"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    real = torch.randn(64, 6) @ torch.randn(6, 6) * 0.4
    G = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 6)).requires_grad_(False)
    z = torch.randn(64, 4)
    m = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 1))

    def loss(D):
        x = real.clone().requires_grad_()
        d = D(x)
        (g,) = torch.autograd.grad(d.sum(), x, create_graph=True)
        with torch.no_grad():
            f = G(z)
        return F.softplus(D(f)).mean() + F.softplus(-d).mean() + 0.5 * g.pow(2).sum(1).mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=1e-3, betas=(0.5, 0.99))
