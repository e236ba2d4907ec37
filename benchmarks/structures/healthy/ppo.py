"""clipped surrogate with stored log-probabilities and normalised advantages, continuous actions"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Pol(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu, self.v = (
            nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 2)),
            nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 1)),
        )
        self.log_std = nn.Parameter(torch.full((2,), -0.5))

    def forward(self, obs):
        return torch.distributions.Normal(self.mu(obs), self.log_std.exp()), self.v(obs).squeeze(-1)


def loss(out, b):
    d, v = out
    ratio = (d.log_prob(b["act"]).sum(-1) - b["logp"]).exp()
    s = torch.min(ratio * b["adv"], ratio.clamp(0.8, 1.2) * b["adv"])
    return -s.mean() + 0.5 * F.mse_loss(v, b["ret"]) - 0.005 * d.entropy().sum(-1).mean()


def make(seed):
    torch.manual_seed(seed)
    m = Pol()
    s = torch.randn(96, 6)
    with torch.no_grad():
        d, v = m(s)
        a = d.sample()
        lp = d.log_prob(a).sum(-1)
        ret = -((a - s[:, :2]) ** 2).sum(-1)
        ret = (ret - ret.mean()) / ret.std()
        adv = ret - v
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    return m, loss, (s, {"act": a, "logp": lp, "adv": adv, "ret": ret}), torch.optim.Adam(m.parameters(), lr=1e-3)
