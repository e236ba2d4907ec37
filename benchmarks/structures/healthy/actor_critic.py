"""A2C: advantage without gradient, value loss, entropy bonus"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class AC(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.pi, self.v = nn.Linear(64, 4), nn.Linear(64, 1)
        nn.init.orthogonal_(self.pi.weight, 0.1)

    def forward(self, s):
        h = self.t(s)
        return self.pi(h), self.v(h).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    s = torch.randn(64, 8)
    W = torch.randn(8, 4)
    m = AC()

    def loss(model):  # on policy: actions sampled afresh, one-step episodes
        lg, v = model(s)
        d = torch.distributions.Categorical(logits=lg)
        a = d.sample()
        ret = (s @ W).gather(1, a[:, None])[:, 0] / 2.8
        adv = (ret - v).detach()
        return -(d.log_prob(a) * adv).mean() + 0.5 * F.mse_loss(v, ret) - 0.01 * d.entropy().mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=1e-3)
