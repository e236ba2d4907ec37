"""NT-Xent between two views, self-similarity masked out"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    z = torch.randn(32, 16)
    v = torch.cat([z + 0.3 * torch.randn_like(z), z + 0.3 * torch.randn_like(z)])
    m = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16))

    def loss(o, t):
        o = F.normalize(o, dim=-1)
        s = (o @ o.T / 0.2).masked_fill(torch.eye(len(o), dtype=torch.bool), float("-inf"))
        return F.cross_entropy(s, t)

    return m, loss, (v, torch.arange(64).roll(32)), torch.optim.Adam(m.parameters(), lr=2e-3)
