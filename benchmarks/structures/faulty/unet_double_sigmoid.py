"""https://github.com/avBuffer/UNet3plus_pth/issues/23 (2025): the U-net returns sigmoid(d1), the loss applies the sigmoid once more."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "avBuffer/UNet3plus_pth#23"
KIND = "range"
STEPS = 200


def double(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(),
        nn.Conv2d(o, o, 3, padding=1, bias=False),
        nn.BatchNorm2d(o),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, fixed, c=10):
        super().__init__()
        self.fixed = fixed
        self.e1, self.e2, self.mid = double(1, c), double(c, 2 * c), double(2 * c, 4 * c)
        self.d2, self.d1, self.out = double(6 * c, 2 * c), double(3 * c, c), nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.e1(x)
        b = self.e2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        up = lambda z: F.interpolate(z, scale_factor=2.0)
        d1 = self.out(self.d1(torch.cat([a, up(self.d2(torch.cat([b, up(m)], 1)))], 1)))
        return d1 if self.fixed else torch.sigmoid(d1)


def data(seed, n=24, S=16):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    p, r = torch.rand(n, 2, 1, 1, generator=g) * 8 + 4, torch.rand(n, 1, 1, generator=g) * 2 + 2
    y = (((yy - p[:, 0]) ** 2 + (xx - p[:, 1]) ** 2) < r**2).float()[:, None]
    x = y + 0.7 * torch.randn(n, 1, S, S, generator=g)
    return (x - x.mean()) / x.std(), y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = UNet(fixed)
    return m, nn.BCEWithLogitsLoss(), data(1), torch.optim.Adam(m.parameters(), 3e-3)
