"""https://github.com/kazuto1011/deeplab-pytorch/issues/79 (2020): BatchNorm2d(momentum=0.999), meant as the decay; in PyTorch it is the weight of the new batch, running statistics are those of the last batch alone."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "kazuto1011/deeplab-pytorch#79"
KIND = "mode"
STEPS = 80


class ConvBnReLU(nn.Sequential):
    BATCH_NORM = nn.BatchNorm2d

    def __init__(self, i, o, k, dilation=1, relu=True, momentum=0.1):
        super().__init__()
        self.add_module("conv", nn.Conv2d(i, o, k, 1, dilation * (k // 2), dilation, bias=False))
        self.add_module("bn", self.BATCH_NORM(o, eps=1e-5, momentum=momentum))
        if relu:
            self.add_module("relu", nn.ReLU())


class ASPP(nn.Module):
    def __init__(self, i, o, rates):
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(i, o, 3, padding=r, dilation=r) for r in rates)

    def forward(self, x):
        return sum(s(x) for s in self.stages)


class MiniDeepLab(nn.Module):
    def __init__(self, n_cls=3, momentum=0.1):
        super().__init__()
        kw = dict(momentum=momentum)
        self.layer1 = ConvBnReLU(3, 16, 3, **kw)
        self.layer2 = nn.Sequential(ConvBnReLU(16, 16, 3, 2, **kw), ConvBnReLU(16, 16, 3, 4, relu=False, **kw))
        self.aspp = ASPP(16, n_cls, (1, 3))

    def forward(self, x):
        x = self.layer1(F.avg_pool2d(x, 2))
        return F.interpolate(
            self.aspp(F.relu(x + self.layer2(x))), scale_factor=2, mode="bilinear", align_corners=False
        )


def scenes(seed, n=6, S=24):
    g = torch.Generator().manual_seed(seed)
    f = F.interpolate(torch.randn(n, 3, 4, 4, generator=g), size=(S, S), mode="bicubic")
    y = f.argmax(1)
    col = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    x = (
        col[y].permute(0, 3, 1, 2)
        + 0.7 * torch.randn(n, 3, S, S, generator=g)
        + 0.5 * torch.randn(n, 3, 1, 1, generator=g)
    )
    return (x - x.mean()) / x.std(), y


def make(seed, fixed):
    torch.manual_seed(seed)
    net = MiniDeepLab(momentum=0.1 if fixed else 0.999)
    return (
        net,
        nn.CrossEntropyLoss(ignore_index=255),
        scenes(seed + 1),
        torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4),
    )
