import math
import torch
from torch import nn
from torch.distributions import Normal
import wellposed as wp


class GaussVAE(nn.Module):
    """Gaussian decoder with one learned noise scale, KL by sampling"""

    def __init__(self, d=10, k=2):
        super().__init__()
        self.e = nn.Sequential(nn.Linear(d, 32), nn.Tanh())
        self.e_mu, self.e_ls = nn.Linear(32, k), nn.Linear(32, k)
        self.d = nn.Sequential(nn.Linear(k, 32), nn.Tanh(), nn.Linear(32, d))
        self.log_scale = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        h = self.e(x)
        q = Normal(self.e_mu(h), self.e_ls(h).exp())
        z = q.rsample((4,))
        log_q = q.log_prob(z).sum(-1)
        log_p = Normal(0., 1.).log_prob(z).sum(-1)
        return Normal(self.d(z), self.log_scale.exp()), log_q - log_p


def neg_elbo(out, x):
    px, kl = out
    return (kl - px.log_prob(x).sum(-1)).mean()


def problem():
    torch.manual_seed(0)
    s = torch.randn(300, 2)
    x = 0.3 * torch.tanh(s @ torch.randn(2, 10)) + 0.05 * torch.randn(300, 10)
    m = GaussVAE()
    return wp.TorchProblem(m, neg_elbo, (x, x), optimizer=torch.optim.Adam(m.parameters(), lr=3e-3))
