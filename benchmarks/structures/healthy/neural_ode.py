"""latent ODE integrated with RK4, trajectory as target, first point as input"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 2))

    def forward(self, y, h=0.2):
        out = []
        for _ in range(8):
            a = self.f(y)
            b = self.f(y + h / 2 * a)
            c = self.f(y + h / 2 * b)
            d = self.f(y + h * c)
            y = y + h / 6 * (a + 2 * b + 2 * c + d)
            out.append(y)
        return torch.stack(out)  # [T, N, 2]


def make(seed):
    torch.manual_seed(seed)
    y0 = torch.randn(32, 2)
    t = 0.2 * torch.arange(1, 9)[:, None]
    y = torch.stack([y0[:, 0] * t.cos() + y0[:, 1] * t.sin(), -y0[:, 0] * t.sin() + y0[:, 1] * t.cos()], -1)
    m = Net()
    return m, F.mse_loss, (y0, y), torch.optim.Adam(m.parameters(), lr=3e-3)
