"""https://github.com/zdebruine/MMVAE/pull/19 (2024): KL summed over batch and latents against a mean over all elements for the reconstruction; KL drops to zero."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "zdebruine/MMVAE#19"
KIND = "terms"
STEPS = 250


class VAE(nn.Module):
    def __init__(self, z=6, c=16):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, c, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(c, 2 * c, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * c * 9, 64),
            nn.ReLU(),
        )
        self.mu, self.lv = nn.Linear(64, z), nn.Linear(64, z)
        self.dec = nn.Sequential(
            nn.Linear(z, 2 * c * 9),
            nn.ReLU(),
            nn.Unflatten(1, (2 * c, 3, 3)),
            nn.ConvTranspose2d(2 * c, c, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(c, 1, 4, 2, 1),
        )

    def forward(self, x):
        h = self.enc(x)
        mu, lv = self.mu(h), self.lv(h)
        return self.dec(mu + torch.randn_like(mu) * (lv / 2).exp()), mu, lv


def data(seed, n=128, S=12):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    p, w = torch.rand(n, 2, 1, 1, generator=g) * (S - 4) + 2, torch.rand(n, 1, 1, generator=g) * 2 + 1
    x = torch.exp(-((yy - p[:, 0]) ** 2 + (xx - p[:, 1]) ** 2) / (2 * w**2)) + 0.05 * torch.randn(n, S, S, generator=g)
    return ((x - x.mean()) / x.std())[:, None]


def make(seed, fixed):
    torch.manual_seed(seed)
    m = VAE()
    x = data(1)

    def loss(out, target):
        rec, mu, lv = out
        kl = -0.5 * (1 + lv - mu**2 - lv.exp())
        if fixed:
            return 0.5 * (rec - target).square().flatten(1).sum(1).mean() + kl.sum(1).mean()
        return F.mse_loss(rec, target) + kl.sum()

    return m, loss, (x, x), torch.optim.Adam(m.parameters(), 2e-3)
