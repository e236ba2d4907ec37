"""focal loss on 5% positives, last bias at the prior"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    y = torch.zeros(160)
    y[:8] = 1
    x = torch.randn(160, 8)
    x[:8] += 1.5
    x = (x - x.mean(0)) / x.std(0)
    m = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    nn.init.constant_(m[2].bias, math.log(0.05 / 0.95))

    def loss(o, y):
        ce = F.binary_cross_entropy_with_logits(o, y, reduction="none")
        p = torch.sigmoid(o)
        pt = p * y + (1 - p) * (1 - y)
        a = 0.75 * y + 0.25 * (1 - y)
        return (a * (1 - pt) ** 2 * ce).sum() / y.sum()

    return m, loss, (x, y), torch.optim.Adam(m.parameters(), lr=3e-3)
