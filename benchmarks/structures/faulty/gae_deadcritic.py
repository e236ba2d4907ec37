"""Actor-critic with clipped ratio (PPO) on stored rollouts; targets are actions, old log-probs,
advantages and returns; the network gives (logits, values).

Fault: the values are collected with .item() and put together again with torch.tensor, so the value
loss has no gradient and the critic head stays at its initial weights.
Source: jsboige/CoursIA pull 15256 (2026), "PT-10 dead critic - value loss detached from the graph, critic never trained".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

KIND = "terms"
OBS, ACT = 8, 4


class ActorCritic(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(OBS, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh())
        self.policy, self.value = nn.Linear(h, ACT), nn.Linear(h, 1)

    def forward(self, obs):
        z = self.trunk(obs)
        return self.policy(z), self.value(z).squeeze(-1)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    obs = torch.randn(B, OBS)
    model = ActorCritic()
    best = (obs @ torch.randn(OBS, ACT)).argmax(-1)
    with torch.no_grad():
        d = Categorical(logits=model(obs)[0])
        action = d.sample()
        old_logp = d.log_prob(action)
    returns = (action == best).float() * 2 + torch.tanh(obs[:, 0] + obs[:, 1]) + 0.1 * torch.randn(B)
    returns = (returns - returns.mean()) / returns.std()
    adv = returns - torch.tanh(obs[:, 0] + obs[:, 1])
    adv = (adv - adv.mean()) / adv.std()

    def loss(out, target):
        logits, values = out
        action, old_logp, adv, returns = target
        dist = Categorical(logits=logits)
        ratio = (dist.log_prob(action) - old_logp).exp()
        pg = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
        if not fixed:
            values = torch.tensor([v.item() for v in values])
        v_loss = F.mse_loss(values, returns)
        return pg + 0.5 * v_loss - 0.01 * dist.entropy().mean()

    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, loss, (obs, (action, old_logp, adv, returns)), opt
