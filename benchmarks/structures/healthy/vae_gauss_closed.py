"""beta-VAE with Gaussian likelihood, loss of the model, data closed over, torch.distributions"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
from torch.distributions import Normal, kl_divergence


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(16, 48), nn.Tanh(), nn.Linear(48, 6))
        self.dec = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 16))
        self.log_sigma = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        mu, s = self.enc(x).chunk(2, -1)
        q = Normal(mu, F.softplus(s) + 1e-3)
        return Normal(self.dec(q.rsample()), self.log_sigma.exp()), q


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(64, 3) @ torch.randn(3, 16)
    x = (x - x.mean(0)) / x.std(0)

    def loss(m):
        p, q = m(x)
        return (-p.log_prob(x).sum(-1) + 0.5 * kl_divergence(q, Normal(0.0, 1.0)).sum(-1)).mean()

    m = VAE()
    return m, loss, None, torch.optim.Adam(m.parameters(), lr=3e-3)
