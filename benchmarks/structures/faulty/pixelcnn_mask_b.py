"""https://github.com/j-min/PixelCNN/issues/3 (2019): mask 'B' clears the centre row but leaves the rows below it; later pixels leak in."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "j-min/PixelCNN#3"
KIND = "future"
STEPS = 250


class MaskedConv(nn.Conv2d):
    def __init__(self, kind, fixed, cin, cout, k=3):
        super().__init__(cin, cout, k, padding=k // 2)
        m = torch.ones(1, 1, k, k)
        c = k // 2
        if kind == "A":
            m[..., c, c:] = 0
            m[..., c + 1 :, :] = 0
        elif fixed:
            m[..., c, c + 1 :] = 0
            m[..., c + 1 :, :] = 0
        else:
            m[..., c, :] = 0
        self.register_buffer("m", m)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.m, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, fixed, c=24):
        super().__init__()
        self.first = MaskedConv("A", fixed, 1, c, 5)
        self.mid = nn.ModuleList(MaskedConv("B", fixed, c, c) for _ in range(4))
        self.out = nn.Sequential(nn.Conv2d(c, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 1))

    def forward(self, img):
        h = F.relu(self.first(img * 2 - 1))
        for conv in self.mid:
            h = h + F.relu(conv(h))
        return self.out(h)


def data(seed, n=96, S=12):
    g = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, 1, S, S)
    for i in range(n):
        a, b = torch.randint(0, S - 4, (2,), generator=g).tolist()
        h, w = torch.randint(3, 8, (2,), generator=g).tolist()
        x[i, 0, a : a + h, b : b + w] = 1
    return (x - (torch.rand(x.shape, generator=g) < 0.06).float()).abs()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = PixelCNN(fixed)
    x = data(1)
    return m, nn.BCEWithLogitsLoss(), (x, x), torch.optim.Adam(m.parameters(), 3e-3)
