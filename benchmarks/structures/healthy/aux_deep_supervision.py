"""auxiliary classifier on a middle layer, weight 0.3"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, K=4):
        super().__init__()
        self.a, self.b = (
            nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU()),
        )
        self.aux, self.out = nn.Linear(12, K), nn.Linear(24, K)

    def forward(self, x):
        h = self.a(x)
        g = self.b(h)
        return self.out(g.mean((2, 3))), self.aux(h.mean((2, 3)))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 4, (48,))
    f = torch.tensor([0.5, 1.0, 1.6, 2.4])[y][:, None, None]
    u = torch.arange(16.0)
    x = torch.sin(f * (u[:, None] + 0.5 * u[None]) + 6 * torch.rand(48, 1, 1))[:, None] + 0.3 * torch.randn(
        48, 1, 16, 16
    )
    x = (x - x.mean()) / x.std()
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o[0], y) + 0.3 * F.cross_entropy(o[1], y)),
        (x, y),
        torch.optim.Adam(m.parameters(), lr=5e-3),
    )
