"""https://github.com/naoto0804/chainer-cyclegan/pull/2 (2018): the last block of the translator normalises right before tanh, so mean and spread of every output channel are fixed (here InstanceNorm2d without affine)."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "naoto0804/chainer-cyclegan#2"
KIND = "range"
STEPS = 80


class CBR(nn.Module):
    def __init__(self, i, o, act, norm=True, up=False):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2) if up else nn.Identity()
        self.c, self.n, self.act = nn.Conv2d(i, o, 3, padding=1), nn.InstanceNorm2d(o) if norm else nn.Identity(), act

    def forward(self, x):
        return self.act(self.n(self.c(self.up(x))))


class Res(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = CBR(c, c, nn.ReLU()), CBR(c, c, nn.Identity(), norm=False)

    def forward(self, x):
        return x + self.b(self.a(x))


class Translator(nn.Module):
    def __init__(self, c=16, norm_last=False):
        super().__init__()
        self.stem, self.down = CBR(3, c, nn.ReLU(), norm=False), nn.Conv2d(c, 2 * c, 4, 2, 1)
        self.res, self.up = nn.Sequential(Res(2 * c), Res(2 * c)), CBR(2 * c, c, nn.ReLU(), norm=False, up=True)
        self.last = CBR(c, 3, nn.Tanh(), norm=norm_last)

    def forward(self, x):
        return self.last(self.up(self.res(torch.relu(self.down(self.stem(x))))))


def paired(seed, n=8, S=16):
    """day -> dusk: hue and brightness depend on the brightness of the scene"""
    g = torch.Generator().manual_seed(seed)
    base = nn.functional.interpolate(
        torch.randn(n, 3, 4, 4, generator=g), size=(S, S), mode="bilinear"
    ) + 1.2 * torch.randn(n, 3, 1, 1, generator=g)
    a = (base - base.mean()) / base.std()
    b = torch.tanh(0.4 * a[:, [2, 0, 1]] - 0.5 + 0.6 * a.mean((1, 2, 3), keepdim=True))
    return a, 0.95 * b


def make(seed, fixed):
    torch.manual_seed(seed)
    a, b = paired(seed + 1)
    net = Translator(norm_last=not fixed)
    return net, nn.L1Loss(), (a, b), torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999))
