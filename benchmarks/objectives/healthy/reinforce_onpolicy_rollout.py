import torch
import torch.nn as nn
from torch.distributions import Normal
import wellposed as wp

ENVS, HORIZON, GAMMA = 64, 15, 0.97


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(2, 24)
        self.l2 = nn.Linear(24, 1)
        self.log_sigma = nn.Parameter(torch.zeros(1))

    def dist(self, s):
        return Normal(self.l2(torch.tanh(self.l1(s))), self.log_sigma.clamp(-3, 1).exp())


def env_step(s, a):
    """point mass: position, velocity"""
    v = (s[:, 1:] + 0.1 * a.clamp(-2, 2)).clamp(-2, 2)
    x = s[:, :1] + 0.1 * v
    return torch.cat([x, v], 1), -(x ** 2).squeeze(1)


def rollout_loss(actor):
    s = torch.randn(ENVS, 2)
    logps, rews = [], []
    for _ in range(HORIZON):
        d = actor.dist(s)
        a = d.sample()
        logps.append(d.log_prob(a).squeeze(1))
        s, r = env_step(s, a)
        rews.append(r)
    G, ret = torch.zeros(ENVS), []
    for r in reversed(rews):
        G = r + GAMMA * G
        ret.append(G)
    ret = torch.stack(ret[::-1])
    adv = ret - ret.mean(1, keepdim=True)
    return -(torch.stack(logps) * adv).sum(0).mean()


def problem():
    torch.manual_seed(0)
    a = Actor()
    return wp.TorchProblem(a, rollout_loss, optimizer=torch.optim.Adam(a.parameters(), lr=3e-3))
