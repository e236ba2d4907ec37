"""predicts the difference to the last value; the net adds the last value itself"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(16, 48), nn.GELU(), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 1))

    def forward(self, x):
        return x[:, -1:] + self.f(x - x[:, -1:])


def make(seed):
    torch.manual_seed(seed)
    d = torch.zeros(64, 60)
    e = 0.2 * torch.randn(64, 60)
    for t in range(1, 60):
        d[:, t] = 0.8 * d[:, t - 1] + e[:, t]
    s = (d - d.mean()) / d.std()
    m = Net()
    return m, F.huber_loss, (s[:, 40:56], s[:, 56:57]), torch.optim.Adam(m.parameters(), lr=2e-3)
