import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class SimNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Conv1d(1, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ReLU(),
                               nn.Conv1d(8, 16, 5, stride=2), nn.BatchNorm1d(16), nn.ReLU(),
                               nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.g = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, views):
        return tuple(F.normalize(self.g(self.f(v)), dim=1) for v in views)


class DCL(nn.Module):
    """decoupled contrastive loss, Yeh et al. 2022 (positive removed from the denominator)"""

    def __init__(self, temperature=0.1):
        super().__init__()
        self.t = temperature

    def one_way(self, z1, z2):
        cross = z1 @ z2.t()
        positive = -torch.diag(cross) / self.t
        neg = torch.cat([z1 @ z1.t(), cross], dim=1) / self.t
        mask = torch.eye(len(z1)).repeat(1, 2).bool()
        return (positive + torch.logsumexp(neg.masked_fill(mask, float("-inf")), dim=1)).mean()

    def forward(self, z, _):
        return self.one_way(z[0], z[1]) + self.one_way(z[1], z[0])


def problem():
    torch.manual_seed(0)
    t = torch.linspace(0, 6.28, 48)
    f = 1 + 3 * torch.rand(32, 1)
    base = torch.sin(f * t + 6 * torch.rand(32, 1)).unsqueeze(1)
    aug = lambda x: x * (0.8 + 0.4 * torch.rand(32, 1, 1)) + 0.2 * torch.randn_like(x)
    model = SimNet()
    return wp.TorchProblem(model, DCL(), ((aug(base), aug(base)), torch.arange(32)),
                           optimizer=torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4))
