import torch
import torch.nn as nn
import wellposed as wp


def entropy(p, dim=-1):
    return -(p * torch.log(p + 1e-12)).sum(dim)


class Clusterer(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.BatchNorm1d(40), nn.Linear(40, 4), nn.Softmax(dim=1))

    def forward(self, x):
        return self.seq(x)


def mi_loss(p, _, mu=1.5):
    # H(Y|X) - mu H(Y)
    return entropy(p).mean() - mu * entropy(p.mean(0))


def problem():
    torch.manual_seed(0)
    x = 3 * torch.randn(4, 6)[torch.randint(0, 4, (200,))] + torch.randn(200, 6)
    net = Clusterer()
    return wp.TorchProblem(net, mi_loss, (x, torch.zeros(200)), optimizer=torch.optim.Adam(net.parameters(), lr=2e-3))
