import torch
import torch.nn as nn
import wellposed as wp


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, pair):
        return self.net(pair[0]), self.net(pair[1])


def spectral_loss(z, _):
    """HaoChen et al. 2021:  -2 E f(x).f(x+)  +  E (f(x).f(x'))^2   (no normalisation of f)"""
    z1, z2 = z
    n = len(z1)
    pos = -2 * (z1 * z2).sum(1).mean()
    sq = (z1 @ z2.T) ** 2
    neg = (sq.sum() - sq.diagonal().sum()) / (n * (n - 1))
    return pos + neg


def problem():
    torch.manual_seed(0)
    c = torch.randn(5, 12) * 1.5
    y = torch.randint(0, 5, (200,))
    pair = (c[y] + torch.randn(200, 12), c[y] + torch.randn(200, 12))
    enc = Encoder()
    return wp.TorchProblem(enc, spectral_loss, (pair, y), optimizer=torch.optim.SGD(enc.parameters(), lr=0.02, momentum=0.9))
