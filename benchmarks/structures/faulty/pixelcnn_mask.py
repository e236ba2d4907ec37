"""PixelCNN over small four-level images (masked convolutions, one logit vector per pixel).

Fault: the first layer has mask type B, which lets the centre pixel through, so that each pixel is
predicted from itself; the first layer must have type A.
Source: pclucas14/pixel-cnn-pp issue 24 (2022), "is the causality constrain satisfied?" (a later/current
pixel reaches an output of a PixelCNN).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "future"
LEVELS = 4


class MaskedConv2d(nn.Conv2d):
    def __init__(self, mask_type, *a, **k):
        super().__init__(*a, **k)
        _, _, h, w = self.weight.shape
        mask = torch.ones(h, w)
        mask[h // 2, w // 2 + (mask_type == "B") :] = 0
        mask[h // 2 + 1 :] = 0
        self.register_buffer("mask", mask[None, None])

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelCNN(nn.Module):
    def __init__(self, first="A", c=32):
        super().__init__()
        self.inp = MaskedConv2d(first, 1, c, 5, padding=2)
        self.hid = nn.ModuleList(MaskedConv2d("B", c, c, 3, padding=1) for _ in range(3))
        self.out = nn.Sequential(nn.ReLU(), nn.Conv2d(c, c, 1), nn.ReLU(), nn.Conv2d(c, LEVELS, 1))

    def forward(self, img):
        x = self.inp(img)
        for conv in self.hid:
            x = x + conv(torch.relu(x))
        return self.out(x)


def make(seed, fixed):
    torch.manual_seed(seed)
    B, H, W = 16, 12, 12
    z = torch.nn.functional.interpolate(torch.randn(B, 1, 4, 4), size=(H, W), mode="bilinear")
    z = z + 0.15 * torch.randn(B, 1, H, W)
    level = torch.bucketize(z, torch.tensor([-0.5, 0.0, 0.5])).squeeze(1)
    img = (level.float().unsqueeze(1) - 1.5) / 1.12
    model = PixelCNN(first="A" if fixed else "B")
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, F.cross_entropy, (img, level), opt
