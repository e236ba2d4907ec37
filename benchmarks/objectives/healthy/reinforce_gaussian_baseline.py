import torch
import torch.nn as nn
from torch.distributions import Normal
import wellposed as wp


class GaussianPolicy(nn.Module):
    def __init__(self, obs=3, act=2):
        super().__init__()
        self.mu = nn.Sequential(nn.Linear(obs, 32), nn.Tanh(), nn.Linear(32, act))
        self.log_std = nn.Parameter(-0.5 * torch.ones(act))

    def forward(self, obs):
        return Normal(self.mu(obs), self.log_std.exp())


def reward(obs, act):
    goal = torch.stack([obs[:, 0] - obs[:, 1], obs[:, 2]], 1)
    return -((act - goal) ** 2).sum(1)


def problem():
    torch.manual_seed(0)
    pi = GaussianPolicy()
    value = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))
    obs = torch.randn(256, 3)
    with torch.no_grad():
        act = pi(obs).sample()
        adv = reward(obs, act) - value(obs).squeeze(-1)

    def policy_loss(dist, data):
        logp = dist.log_prob(data[0]).sum(axis=-1)
        return -(logp * data[1]).mean()

    return wp.TorchProblem(pi, policy_loss, (obs, (act, adv)), optimizer=torch.optim.Adam(pi.parameters(), lr=3e-4))
