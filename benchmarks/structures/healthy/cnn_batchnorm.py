"""ResNet style net with BatchNorm in train mode, SGD momentum"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Res(nn.Module):
    def __init__(self, a, b, s):
        super().__init__()
        self.c1, self.b1, self.c2, self.b2 = (
            nn.Conv2d(a, b, 3, s, 1, bias=False),
            nn.BatchNorm2d(b),
            nn.Conv2d(b, b, 3, 1, 1, bias=False),
            nn.BatchNorm2d(b),
        )
        self.sc = (
            nn.Sequential(nn.Conv2d(a, b, 1, s, bias=False), nn.BatchNorm2d(b)) if (a != b or s != 1) else nn.Identity()
        )

    def forward(self, x):
        return F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))) + self.sc(x))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 5, (32,))
    x = F.interpolate(torch.randn(5, 3, 4, 4), size=16)[y] + 0.7 * torch.randn(32, 3, 16, 16)
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    m = nn.Sequential(
        nn.Conv2d(3, 12, 3, 1, 1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        Res(12, 12, 1),
        Res(12, 24, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 5),
    )
    for l in m.modules():
        if isinstance(l, nn.Conv2d):
            nn.init.kaiming_normal_(l.weight, mode="fan_out", nonlinearity="relu")
    return (
        m.train(),
        nn.CrossEntropyLoss(),
        (x, y),
        torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    )
