import math
import torch
import torch.nn as nn
from torch.distributions import Normal, TransformedDistribution, TanhTransform, Independent
import wellposed as wp


class TanhPolicy(nn.Module):
    def __init__(self, obs=6, act=2):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(obs, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.mean, self.log_std = nn.Linear(48, act), nn.Linear(48, act)

    def forward(self, o):
        h = self.trunk(o)
        base = Normal(self.mean(h), self.log_std(h).clamp(-5, 2).exp())
        return Independent(TransformedDistribution(base, TanhTransform(cache_size=1)), 1)


def bc_loss(pi, expert_action):
    return -pi.log_prob(expert_action).mean()


def problem():
    torch.manual_seed(0)
    obs = torch.randn(256, 6)
    act = torch.tanh(0.6 * obs @ torch.randn(6, 2) * 0.5 + 0.1 * torch.randn(256, 2)).clamp(-0.995, 0.995)
    pi = TanhPolicy()
    return wp.TorchProblem(pi, bc_loss, (obs, act), optimizer=torch.optim.Adam(pi.parameters(), lr=1e-3))
