import torch
import torch.nn as nn
from torch.distributions import Normal, Bernoulli, Independent, kl_divergence
import wellposed as wp


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.ELU(), nn.Linear(h, o))


class VariationalAutoencoder(nn.Module):
    def __init__(self, dim, latent):
        super().__init__()
        self.enc = mlp(dim, 40, 2 * latent)
        self.dec = mlp(latent, 40, dim)
        self.register_buffer("p_loc", torch.zeros(latent))
        self.register_buffer("p_scale", torch.ones(latent))

    def posterior(self, x):
        loc, raw = self.enc(x).chunk(2, dim=-1)
        return Independent(Normal(loc, nn.functional.softplus(raw) + 1e-5), 1)

    def prior(self):
        return Independent(Normal(self.p_loc, self.p_scale), 1)

    def likelihood(self, z):
        return Independent(Bernoulli(logits=self.dec(z)), 1)

    def elbo(self, x):
        q = self.posterior(x)
        z = q.rsample()
        log_px = self.likelihood(z).log_prob(x)
        kl = kl_divergence(q, self.prior())
        return (log_px - kl).mean()


def problem():
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (256, 4)).float()
    x = torch.cat([bits, 1 - bits, bits.flip(1), (bits + bits.roll(1, 1)) % 2], 1)
    vae = VariationalAutoencoder(16, 3)

    def step_loss(m):
        return -m.elbo(x)

    return wp.TorchProblem(vae, step_loss, optimizer=torch.optim.Adam(vae.parameters(), 2e-3))
