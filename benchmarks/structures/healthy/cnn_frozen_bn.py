"""fine-tuning: backbone frozen, its BatchNorm in eval mode with proper statistics, new head trained"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 4))

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def make(seed):
    torch.manual_seed(seed)
    P = F.interpolate(torch.randn(4, 3, 4, 4), size=16)
    y = torch.randint(0, 4, (160,))
    x = P[y] + torch.randn(160, 3, 16, 16)
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    m = Net()
    pre = nn.Sequential(m.backbone, nn.Linear(128, 4))
    o = torch.optim.Adam(pre.parameters(), lr=3e-3)
    pre.train()
    for i in range(60):  # "pre-training"
        k = torch.randint(0, 128, (32,))
        o.zero_grad()
        F.cross_entropy(pre(x[k]), y[k]).backward()
        o.step()
    for p in m.backbone.parameters():
        p.requires_grad_(False)
        p.grad = None
    m.train()
    return m, F.cross_entropy, (x[128:], 3 - y[128:]), torch.optim.Adam(m.head.parameters(), lr=3e-3)
