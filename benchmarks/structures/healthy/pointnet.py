"""PointNet classifier: shared 1x1 convolutions with BatchNorm, max over points"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class PointNet(nn.Module):
    def __init__(self, K=4):
        super().__init__()
        self.f = nn.Sequential(
            nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU()
        )
        self.c = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, K))

    def forward(self, pts):
        return self.c(self.f(pts.transpose(1, 2)).amax(-1))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 4, (32,))
    p = torch.randn(32, 40, 3)
    s = torch.tensor([[1, 1, 1], [1.6, 0.5, 0.5], [0.5, 1.6, 0.5], [1.2, 1.2, 0.2]])
    p = p / p.norm(dim=-1, keepdim=True) * s[y][:, None] + 0.05 * torch.randn_like(p)
    m = PointNet()
    return m, F.cross_entropy, (p, y), torch.optim.Adam(m.parameters(), lr=2e-3)
