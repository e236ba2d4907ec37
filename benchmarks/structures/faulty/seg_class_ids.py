"""https://github.com/microsoft/computervision-recipes/pull/315 (2019): object labels start at 0, which is reserved for background; one class is never found."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "microsoft/computervision-recipes#315"
KIND = "targets"
STEPS = 200
NAMES = ["can", "carton", "bottle"]  # plus background = 4 outputs


class Seg(nn.Module):
    def __init__(self, c=20):
        super().__init__()
        cb = lambda i, o, s=1: nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.GroupNorm(4, o), nn.ReLU())
        self.down, self.mid, self.up = cb(3, c), cb(c, 2 * c, 2), cb(2 * c, c)
        self.head = nn.Conv2d(2 * c, len(NAMES) + 1, 1)

    def forward(self, img):
        a = self.down(img)
        b = self.up(F.interpolate(self.mid(a), scale_factor=2.0))
        return self.head(torch.cat([a, b], 1))


def data(seed, first, n=48, S=16):
    g = torch.Generator().manual_seed(seed)
    R = lambda a, b: int(torch.randint(a, b, (1,), generator=g))
    x, y = 0.4 * torch.randn(n, 3, S, S, generator=g), torch.zeros(n, S, S, dtype=torch.long)
    for i in range(n):
        for k in torch.randperm(3, generator=g)[:2].tolist():
            h, w = ((6, 6), (4, 9), (9, 4))[k]
            a, b = R(0, S - h), R(0, S - w)
            x[i, :, a : a + h, b : b + w] += torch.tensor([1.0, 0.6, -0.5])[:, None, None]
            y[i, a : a + h, b : b + w] = first + k
    return (x - x.mean()) / x.std(), y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Seg()
    return m, nn.CrossEntropyLoss(), data(1, 1 if fixed else 0), torch.optim.Adam(m.parameters(), 3e-3)
