"""Image classifier of inverted-bottleneck (MBConv) blocks with BatchNorm.

Fault: BatchNorm momentum is 0.99, taken over from a TensorFlow implementation; in PyTorch this means
that the running statistics are practically those of the last batch.
Source: pytorch/vision issue 8250 (2024), "MaxVIT Model - BatchNorm momentum is incorrect" (also ludwig-ai/ludwig pull 2100, 2022).
"""

import torch
import torch.nn as nn

KIND = "mode"


class MBConv(nn.Module):
    def __init__(self, c, momentum, expand=2):
        super().__init__()
        m = c * expand

        def bn(k):
            return nn.BatchNorm2d(k, eps=1e-3, momentum=momentum)

        self.net = nn.Sequential(
            bn(c),
            nn.Conv2d(c, m, 1, bias=False),
            bn(m),
            nn.GELU(),
            nn.Conv2d(m, m, 3, padding=1, groups=m, bias=False),
            bn(m),
            nn.GELU(),
            nn.Conv2d(m, c, 1),
        )

    def forward(self, x):
        return x + self.net(x)


class SmallMaxVit(nn.Module):
    def __init__(self, momentum, c=24, classes=4):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, c, 3, 2, 1, bias=False), nn.BatchNorm2d(c, eps=1e-3, momentum=momentum), nn.GELU()
        )
        self.stages = nn.Sequential(MBConv(c, momentum), MBConv(c, momentum), nn.MaxPool2d(2), MBConv(c, momentum))
        self.head = nn.Linear(c, classes)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


def make(seed, fixed):
    torch.manual_seed(seed)
    B, S = 24, 16
    y = torch.randint(0, 4, (B,))
    yy, xx = torch.meshgrid(torch.arange(S).float(), torch.arange(S).float(), indexing="ij")
    ang = (y.float() * 0.785)[:, None, None]
    wave = torch.sin(1.3 * (xx * ang.cos() + yy * ang.sin()) + 6.28 * torch.rand(B, 1, 1))
    x = wave[:, None] * (0.5 + torch.rand(B, 3, 1, 1)) + 0.6 * torch.randn(B, 3, S, S)
    x = (x - x.mean()) / x.std()
    model = SmallMaxVit(momentum=0.1 if fixed else 0.99)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, nn.CrossEntropyLoss(), (x, y), opt
