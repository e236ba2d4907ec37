"""https://github.com/godka/Pensieve-PPO/issues/34 (2025): actor loss by reduce_sum in one version, .mean() in the other, next to a critic that is always a mean; with one shared trunk the sum drowns the critic."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "godka/Pensieve-PPO#34"
KIND = "terms"
STEPS = 80


class ActorCritic(nn.Module):
    """six rows of player history: throughput, delay, buffer, ... -> bitrate policy and value"""

    def __init__(self, rows=6, hist=8, actions=6, f=24):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv1d(1, f, 4) for _ in range(rows))
        self.trunk = nn.Sequential(nn.Linear(rows * f * 5, 64), nn.Tanh())
        self.pi, self.val = nn.Linear(64, actions), nn.Linear(64, 1)

    def forward(self, s):
        x = torch.cat([torch.relu(b(s[:, i : i + 1])).flatten(1) for i, b in enumerate(self.branches)], 1)
        h = self.trunk(x)
        return torch.softmax(self.pi(h), 1).clamp(1e-5, 1), self.val(h)


def make(seed, fixed, n=512, eps=0.2, entropy_weight=0.05):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 9)
    s = torch.randn(n, 6, 8, generator=g)
    net = ActorCritic()
    with torch.no_grad():
        p_old, _ = net(s)
    a = torch.multinomial(p_old, 1, generator=g)
    best = (s[:, 0].mean(1) * 3 + 3).long().clamp(0, 5)
    ret = (
        s[:, 2].mean(1) * 2
        + (a[:, 0] == best).float()
        - 0.3 * (a[:, 0] - best).abs()
        + 0.1 * torch.randn(n, generator=g)
    )
    ret = ((ret - ret.mean()) / ret.std())[:, None]
    adv = ret - s[:, 2].mean(1, keepdim=True)
    adv = (adv - adv.mean()) / adv.std()
    old = p_old.gather(1, a)

    def loss(out, targets):
        pi, val = out
        a, ret, adv, old = targets
        ratio = pi.gather(1, a) / old
        dual = torch.min(ratio * adv, ratio.clamp(1 - eps, 1 + eps) * adv)
        ent = -(pi * pi.log()).sum(1, keepdim=True)
        red = torch.mean if fixed else torch.sum
        return -red(dual) - entropy_weight * red(ent) + 0.5 * F.mse_loss(val, ret)

    return net, loss, (s, (a, ret, adv, old)), torch.optim.Adam(net.parameters(), 1e-3)
