"""PPO with separate actor and critic on stored rollouts (old log-probs, advantages, returns and old values in
the targets); ratio, clipped value loss, entropy bonus, running reward baseline kept apart from the graph."""

import torch
import torch.nn as nn
from torch.distributions import Normal

OBS, ACT = 10, 2


class Agent(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(OBS, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, ACT))
        self.critic = nn.Sequential(nn.Linear(OBS, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, 1))
        self.log_std = nn.Parameter(torch.full((ACT,), -0.5))

    def forward(self, obs):
        return self.actor(obs), self.log_std.expand(obs.shape[0], ACT), self.critic(obs).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    B = 32
    obs, model = torch.randn(B, OBS), Agent()
    with torch.no_grad():
        mu, ls, old_v = model(obs)
        d = Normal(mu, ls.exp())
        act = d.sample()
        old_logp = d.log_prob(act).sum(-1)
        goal = torch.tanh(obs @ torch.randn(OBS, ACT) / 3)
        ret = -(act - goal).pow(2).sum(-1)
        baseline = ret.mean()  # running baseline
        ret = (ret - baseline) / ret.std()
        adv = ret - old_v
        adv = (adv - adv.mean()) / adv.std()

    def loss(out, t):
        mu, ls, v = out
        act, old_logp, adv, ret, old_v = t
        dist = Normal(mu, ls.exp())
        ratio = (dist.log_prob(act).sum(-1) - old_logp).exp()
        pg = torch.max(-adv * ratio, -adv * ratio.clamp(0.8, 1.2)).mean()
        vc = old_v + (v - old_v).clamp(-2, 2)
        v_loss = 0.5 * torch.max((v - ret) ** 2, (vc - ret) ** 2).mean()
        return pg + 0.5 * v_loss - 0.005 * dist.entropy().sum(-1).mean()

    return model, loss, (obs, (act, old_logp, adv, ret, old_v)), torch.optim.Adam(model.parameters(), lr=2e-3)
