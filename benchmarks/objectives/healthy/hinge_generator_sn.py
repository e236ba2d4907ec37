import torch
import torch.nn as nn
from torch.nn.utils.parametrizations import spectral_norm
import wellposed as wp


class CondGenerator(nn.Module):
    def __init__(self, n_cls=4):
        super().__init__()
        self.emb = nn.Embedding(n_cls, 8)
        self.l1, self.l2, self.l3 = nn.Linear(16, 48), nn.Linear(48, 48), nn.Linear(48, 2)

    def forward(self, inp):
        z, y = inp
        h = torch.relu(self.l1(torch.cat([z, self.emb(y)], 1)))
        return self.l3(torch.relu(self.l2(h)))


class ProjectionDiscriminator(nn.Module):
    def __init__(self, n_cls=4):
        super().__init__()
        self.phi = nn.Sequential(spectral_norm(nn.Linear(2, 48)), nn.ReLU(),
                                 spectral_norm(nn.Linear(48, 48)), nn.ReLU())
        self.psi = spectral_norm(nn.Linear(48, 1))
        self.proj = spectral_norm(nn.Embedding(n_cls, 48))

    def forward(self, x, y):
        h = self.phi(x)
        return self.psi(h).squeeze(1) + (self.proj(y) * h).sum(1)


def problem():
    torch.manual_seed(0)
    g, d = CondGenerator(), ProjectionDiscriminator()
    mu = torch.tensor([[2., 0], [-2, 0], [0, 2], [0, -2]])
    opt_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.0, 0.9))
    for _ in range(5):      # n_dis = 5
        y = torch.randint(0, 4, (64,))
        real = mu[y] + 0.2 * torch.randn(64, 2)
        fake = g((torch.randn(64, 8), y)).detach()
        loss = torch.relu(1 - d(real, y)).mean() + torch.relu(1 + d(fake, y)).mean()
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
    d.requires_grad_(False).eval()
    z, y = torch.randn(64, 8), torch.randint(0, 4, (64,))
    return wp.TorchProblem(g, lambda fake, labels: -torch.mean(d(fake, labels)), ((z, y), y),
                           optimizer=torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.0, 0.9)))
