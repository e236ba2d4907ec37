"""VAE with Bernoulli likelihood summed over pixels and a KL term, averaged over the batch"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class VAE(nn.Module):
    def __init__(self, D=64, Z=4):
        super().__init__()
        self.e, self.mu, self.lv = nn.Sequential(nn.Linear(D, 64), nn.ReLU()), nn.Linear(64, Z), nn.Linear(64, Z)
        self.d = nn.Sequential(nn.Linear(Z, 64), nn.ReLU(), nn.Linear(64, D))

    def forward(self, x):
        h = self.e(x)
        mu, lv = self.mu(h), self.lv(h)
        return self.d(mu + torch.randn_like(mu) * (0.5 * lv).exp()), mu, lv


def loss(out, x):
    rec, mu, lv = out
    bce = F.binary_cross_entropy_with_logits(rec, x, reduction="sum") / len(x)
    return bce - 0.5 * (1 + lv - mu**2 - lv.exp()).sum(1).mean()


def make(seed):
    torch.manual_seed(seed)
    p = (torch.rand(8, 64) < 0.4).float()
    x = p[torch.randint(0, 8, (64,))]
    x = torch.where(torch.rand_like(x) < 0.05, 1 - x, x)
    m = VAE()
    return m, loss, (x, x), torch.optim.Adam(m.parameters(), lr=2e-3)
