"""residual super-resolution with PixelShuffle, adds the bilinear image"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.a, self.b, self.o = (
            nn.Conv2d(1, c, 3, padding=1),
            nn.Conv2d(c, c, 3, padding=1),
            nn.Conv2d(c, 4, 3, padding=1),
        )

    def forward(self, x):
        h = F.relu(self.a(x))
        h = h + F.relu(self.b(h))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False) + F.pixel_shuffle(self.o(h), 2)


def make(seed):
    torch.manual_seed(seed)
    y = F.interpolate(torch.randn(16, 1, 9, 9), size=16, mode="bicubic")
    y = (y - y.mean()) / y.std()
    m = Net()
    return m, nn.L1Loss(), (F.avg_pool2d(y, 2), y), torch.optim.Adam(m.parameters(), lr=2e-3)
