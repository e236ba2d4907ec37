import numpy as np
import torch
import torch.nn as nn
import wellposed as wp


class DoubleConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                                  nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))

    def forward(self, x):
        return self.conv(x)


class TinyUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc = DoubleConv(3, 8)
        self.down = nn.Sequential(nn.MaxPool2d(2), DoubleConv(8, 16))
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.conv = DoubleConv(16, 8)
        self.outc = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(x1)
        x = self.conv(torch.cat([x1, self.up(x2)], dim=1))
        return self.outc(x)


def load_pair(rng, size=16):
    """one 8-bit RGB image and its 8-bit mask png"""
    img = rng.integers(0, 120, (size, size, 3), dtype=np.uint8)
    mask = np.zeros((size, size), dtype=np.uint8)
    r, c = rng.integers(1, size - 7, 2)
    mask[r:r + 6, c:c + 6] = 255
    img[mask > 0] += 100
    return img, mask


def preprocess(img, mask):
    img = img.astype(np.float32).transpose(2, 0, 1) / 255.0
    mask = mask.astype(np.float32)[None] / 255.0
    return torch.from_numpy(img), torch.from_numpy(mask)


def bce_with_logits(pred, target):
    # numerically stable, per pixel then averaged
    loss = pred.clamp(min=0) - pred * target + torch.log1p(torch.exp(-pred.abs()))
    return loss.mean()


def problem():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    imgs, masks = zip(*[preprocess(*load_pair(rng)) for _ in range(12)])
    net = TinyUNet()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-4, weight_decay=1e-8, momentum=0.9)
    return wp.TorchProblem(net, bce_with_logits, (torch.stack(imgs), torch.stack(masks)), optimizer=optimizer)
