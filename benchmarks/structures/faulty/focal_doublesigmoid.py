"""Small U-Net for lesion segmentation with a focal loss.

Fault: the network ends with a sigmoid, and the focal loss is built on
binary_cross_entropy_with_logits, which applies it again: the lowest probability is 0.5.
Source: itakurah/focal-loss-pytorch pull 5 (2026), "F.binary_cross_entropy_with_logits already applies a sigmoid" (also
avBuffer/UNet3plus_pth issue 23, 2025).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "range"


def block(a, b):
    return nn.Sequential(
        nn.Conv2d(a, b, 3, padding=1),
        nn.GroupNorm(4, b),
        nn.ReLU(),
        nn.Conv2d(b, b, 3, padding=1),
        nn.GroupNorm(4, b),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, final_sigmoid):
        super().__init__()
        self.final_sigmoid = final_sigmoid
        self.d1, self.d2 = block(1, 16), block(16, 32)
        self.up, self.u1 = nn.ConvTranspose2d(32, 16, 2, 2), block(32, 16)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        d = self.out(self.u1(torch.cat([a, self.up(b)], 1)))
        return torch.sigmoid(d) if self.final_sigmoid else d


class FocalLoss(nn.Module):
    def __init__(self, alpha=0.5, gamma=2.0):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, inputs, targets):
        bce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
        p_t = torch.exp(-bce)
        a_t = self.alpha * targets + (1 - self.alpha) * (1 - targets)
        return (a_t * (1 - p_t) ** self.gamma * bce).mean()


def make(seed, fixed):
    torch.manual_seed(seed)
    B, S = 8, 24
    yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    c = 5 + 14 * torch.rand(B, 2, 1, 1)
    r = 3 + 3 * torch.rand(B, 1, 1)
    mask = (((xx - c[:, 0]) ** 2 + (yy - c[:, 1]) ** 2) < r**2).float().unsqueeze(1)
    img = 1.6 * mask + 0.7 * torch.randn(B, 1, S, S)
    img = (img - img.mean()) / img.std()
    model = UNet(final_sigmoid=not fixed)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, FocalLoss(), (img, mask), opt
