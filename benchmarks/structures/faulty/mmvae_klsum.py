"""Variational autoencoder for expression profiles (100 standardised genes), outputs (recon, mu, logvar).

Fault: the KL term is summed over the whole batch, the reconstruction error is a mean over batch and
genes: the KL drowns the reconstruction, the posterior collapses.
Source: zdebruine/MMVAE pull 19 (2024), "fix loss calculation for VAE" ("KL are scale over sum [...] MSE are scale over
mean by default").
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "terms"
GENES, Z = 100, 8


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(GENES, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU())
        self.mu, self.logvar = nn.Linear(48, Z), nn.Linear(48, Z)
        self.dec = nn.Sequential(nn.Linear(Z, 48), nn.ReLU(), nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, GENES))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    f = torch.randn(B, 4)
    x = torch.tanh(f @ torch.randn(4, GENES)) + 0.2 * torch.randn(B, GENES)
    x = (x - x.mean(0)) / x.std(0)
    model = VAE()

    def loss(out, target):
        recon, mu, logvar = out
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
        if fixed:
            return (F.mse_loss(recon, target, reduction="sum") + kl.sum()) / target.shape[0]
        return F.mse_loss(recon, target) + kl.sum()

    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, loss, (x, x.clone()), opt
