"""Point-cloud semantic segmentation (PointNet with a global feature), one class per point.

Fault: the annotations count the classes from 1 (0 stands for "unlabelled" and never occurs) and are
used as they are; the head got one output more so that cross_entropy accepts them, and its first
output means nothing. The labels have to be shifted down by one.
Source: edwardzhou130/PolarSeg issue 44 (2022), "inquiry meaning about label - 1".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "targets"
K = 5


class PointSeg(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.local = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 64), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, n_classes))

    def forward(self, pts):  # [B, P, 4]: x, y, z, intensity
        f = self.local(pts)
        g = f.max(1, keepdim=True).values.expand_as(f)
        return self.head(torch.cat([f, g], -1))


def make(seed, fixed):
    torch.manual_seed(seed)
    B, P = 12, 96
    label = torch.randint(1, K + 1, (B, P))  # road, car, building, pole, plant
    z = torch.tensor([0.0, -1.0, -0.6, 1.0, 0.6, 0.2])[label]
    inten = torch.tensor([0.0, 0.2, 1.2, -0.8, 0.6, -1.4])[label]
    pts = torch.stack(
        [torch.randn(B, P), torch.randn(B, P), z + 0.3 * torch.randn(B, P), inten + 0.3 * torch.randn(B, P)], -1
    )
    if fixed:
        label = label - 1
    model = PointSeg(int(label.max()) + 1)

    def loss(logits, y):
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, loss, (pts, label), opt
