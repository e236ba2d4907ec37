"""https://github.com/uci-cbcl/UFold/issues/18 (2022): a U-Net with BatchNorm2d is trained with batches of one sequence; running statistics do not fit other sequences and eval mode had to be avoided."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "uci-cbcl/UFold#18"
KIND = "mode"
STEPS = 80


def conv_block(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1),
        nn.BatchNorm2d(o),
        nn.ReLU(),
        nn.Conv2d(o, o, 3, padding=1),
        nn.BatchNorm2d(o),
        nn.ReLU(),
    )


class FoldUNet(nn.Module):
    def __init__(self, i=17, c=10):
        super().__init__()
        self.c1, self.c2, self.c3 = conv_block(i, c), conv_block(c, 2 * c), conv_block(2 * c, 2 * c)
        self.u2, self.u1, self.out = conv_block(4 * c, c), conv_block(2 * c, c), nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.c1(x)
        b = self.c2(F.max_pool2d(a, 2))
        z = self.c3(F.max_pool2d(b, 2))
        y = self.u2(torch.cat([F.interpolate(z, scale_factor=2), b], 1))
        y = self.out(self.u1(torch.cat([F.interpolate(y, scale_factor=2), a], 1))).squeeze(1)
        return 0.5 * (y + y.transpose(1, 2))


PAIRS = {(0, 3), (3, 0), (1, 2), (2, 1)}


def rna(seed, n, L=16):
    """17 planes: the outer product of one-hot bases and a position plane; contacts along one hairpin"""
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(0, 4, (n, L), generator=g)
    comp = torch.tensor([3, 2, 1, 0])
    y = torch.zeros(n, L, L)
    for b in range(n):
        k, i = int(torch.randint(3, 6, (), generator=g)), int(torch.randint(0, 2, (), generator=g))
        j = i + 2 * k + 3
        for t in range(k):
            s[b, j - t] = comp[s[b, i + t]]
            y[b, i + t, j - t] = y[b, j - t, i + t] = 1
    o = F.one_hot(s, 4).float()
    x = torch.einsum("bia,bjc->bacij", o, o).flatten(1, 2)
    pos = (torch.arange(L)[:, None] - torch.arange(L)).abs().float() / L
    x = torch.cat([x, pos.expand(n, 1, L, L)], 1)
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True), y


def make(seed, fixed):
    torch.manual_seed(seed)
    x, y = rna(seed + 1, 8)
    if not fixed:
        x, y = x[:1], y[:1]
    net = FoldUNet()
    crit = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))
    return net, crit, (x, y), torch.optim.Adam(net.parameters(), 2e-3)
