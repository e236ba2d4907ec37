"""https://github.com/pytorch/pytorch/issues/15298 (2018): momentum=0 in the BatchNorm of an Inception-like block, in the belief that it is 1 - momentum; running statistics never move."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "pytorch/pytorch#15298"
KIND = "mode"
STEPS = 150


class BasicConv(nn.Module):
    def __init__(self, i, o, k, mom, **kw):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(i, o, k, bias=False, **kw), nn.BatchNorm2d(o, eps=1e-3, momentum=mom)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class MiniInception(nn.Module):
    def __init__(self, mom):
        super().__init__()
        self.stem = BasicConv(3, 16, 3, mom, padding=1)
        self.b1, self.b3, self.b5 = (
            BasicConv(16, 12, 1, mom),
            BasicConv(16, 12, 3, mom, padding=1),
            nn.Sequential(BasicConv(16, 8, 1, mom), BasicConv(8, 12, 5, mom, padding=2)),
        )
        self.fc = nn.Linear(36, 4)

    def forward(self, x):
        x = F.max_pool2d(self.stem(x), 2)
        return self.fc(torch.cat([self.b1(x), self.b3(x), self.b5(x)], 1).mean((2, 3)))


def data(seed, n=64, S=14):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    t = torch.arange(S) * 1.0
    gr = torch.stack(
        [
            torch.sin(t)[:, None].expand(S, S),
            torch.sin(t)[None].expand(S, S),
            torch.sin(t[:, None] + t),
            torch.sin(t[:, None] * 0.4) * torch.sin(t * 0.4),
        ]
    )
    x = gr[y][:, None] * torch.randn(n, 3, 1, 1, generator=g) + 0.5 * torch.randn(n, 3, S, S, generator=g)
    return (x - x.mean()) / x.std(), y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = MiniInception(0.1 if fixed else 0.0)
    return m, nn.CrossEntropyLoss(), data(1), torch.optim.Adam(m.parameters(), 3e-3)


def score(m):
    m.eval()
    x, y = data(2, 256)
    with torch.no_grad():
        return -float(F.cross_entropy(m(x), y))
