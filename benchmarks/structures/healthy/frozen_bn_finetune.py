"""Fine-tuning a backbone with BatchNorm kept in eval mode on trained statistics (usual for detection); the
backbone's first stage is frozen; train() leaves the BatchNorms in eval."""

import torch
import torch.nn as nn


class FineTuned(nn.Module):
    def __init__(self, backbone, classes=5):
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(32, classes)
        for p in self.backbone[:3].parameters():
            p.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x).mean((2, 3)))


def images(B, y):
    yy, xx = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    f = (0.4 + 0.3 * y.float())[:, None, None]
    x = torch.sin(f * xx + 6.28 * torch.rand(B, 1, 1))[:, None] * torch.tensor([1.0, 0.6, -0.8]).view(1, 3, 1, 1)
    return (x + 0.5 * torch.randn(B, 3, 16, 16)) / 0.8


def make(seed):
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
    )
    pre = nn.Sequential(backbone, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    opt = torch.optim.Adam(pre.parameters(), lr=3e-3)
    for _ in range(60):  # pretraining on another task
        y = torch.randint(0, 3, (24,))
        opt.zero_grad()
        nn.functional.cross_entropy(pre(images(24, y)), y).backward()
        opt.step()
    pre.zero_grad()
    model = FineTuned(backbone)
    y = torch.randint(0, 5, (24,))
    params = [p for p in model.parameters() if p.requires_grad]
    return model, nn.CrossEntropyLoss(), (images(24, y), y), torch.optim.Adam(params, lr=3e-3)
