import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


def MLP(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(inplace=True), nn.Linear(h, o))


class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(MLP(20, 48, 32), nn.ReLU(), MLP(32, 32, 16))
        self.predictor = MLP(16, 8, 16)

    def forward(self, x):
        x1, x2 = x
        z1, z2 = self.encoder(x1), self.encoder(x2)
        return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()


def D(p, z):
    return -F.cosine_similarity(p, z, dim=-1).mean()


def problem():
    torch.manual_seed(0)
    x = torch.randn(64, 20)
    v1, v2 = x + 0.3 * torch.randn_like(x), x + 0.3 * torch.randn_like(x)
    net = SimSiam()

    def loss(out, target):
        p1, p2, z1, z2 = out
        return 0.5 * D(p1, z2) + 0.5 * D(p2, z1)

    return wp.TorchProblem(net, loss, ((v1, v2), torch.zeros(64)),
                           optimizer=torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4))
