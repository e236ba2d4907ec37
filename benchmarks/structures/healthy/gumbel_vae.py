"""categorical VAE with straight-through Gumbel softmax and a KL to the uniform"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.d = (
            nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 18)),
            nn.Sequential(nn.Linear(18, 48), nn.ReLU(), nn.Linear(48, 24)),
        )

    def forward(self, x):
        l = self.e(x).view(-1, 3, 6)
        return self.d(F.gumbel_softmax(l, tau=1.0).flatten(1)), l


def loss(o, x):
    r, l = o
    lq = l.log_softmax(-1)
    return ((r - x) ** 2).sum(-1).mean() + 0.1 * (lq.exp() * (lq + math.log(6))).sum((1, 2)).mean()


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(8, 24)[torch.randint(0, 8, (64,))] + 0.2 * torch.randn(64, 24)
    x = (x - x.mean(0)) / x.std(0)
    m = Net()
    return m, loss, (x, x), torch.optim.Adam(m.parameters(), lr=2e-3)
