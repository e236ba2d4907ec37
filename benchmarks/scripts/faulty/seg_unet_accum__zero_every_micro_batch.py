# base: seg_unet_accum
# rule: WP601
# cause: cleared-too-early
# line: optimizer.zero_grad(set_to_none=True)
# why: gradients are cleared before each micro-batch, so only the last of four (at a quarter of its weight) is in the step.
"""Binary segmentation of noisy discs and boxes with a small U-Net; gradient accumulation, Dice + BCE."""
import hashlib

import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

ACCUM = 4
BATCH = 4
EPOCHS = 4


class Shapes(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
        self.items = []
        for i in range(n):
            cy, cx = (torch.rand(2, generator=g) * 12 + 6).tolist()
            r = torch.rand(1, generator=g).item() * 3 + 3
            mask = ((yy - cy) ** 2 + (xx - cx) ** 2 < r * r) if i % 2 else ((yy - cy).abs() < r) & ((xx - cx).abs() < r * 0.7)
            mask = mask.float()[None]
            img = mask * 1.2 - 0.4 + 0.8 * torch.randn(1, 24, 24, generator=g)
            self.items.append((img, mask))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(4, o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1), nn.GroupNorm(4, o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.d1, self.d2, self.mid = double_conv(1, c), double_conv(c, 2 * c), double_conv(2 * c, 4 * c)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.u2, self.u1 = double_conv(4 * c, 2 * c), double_conv(2 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([self.up2(m), b], 1))
        a = self.u1(torch.cat([self.up1(b), a], 1))
        return self.out(a)


def dice_loss(logits, target):
    p = torch.sigmoid(logits)
    inter = (p * target).sum((1, 2, 3))
    return (1 - (2 * inter + 1) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)).mean()


def validate(net, loader):
    net.eval()
    score = 0.0
    with torch.no_grad():
        for img, mask in loader:
            pred = (net(img) > 0).float()
            inter = (pred * mask).sum((1, 2, 3))
            score += ((2 * inter + 1) / (pred.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).sum().item()
    net.train()
    return score / len(loader.dataset)


torch.manual_seed(5)
train_loader = DataLoader(Shapes(192, 1), batch_size=BATCH, shuffle=True)
val_loader = DataLoader(Shapes(64, 2), batch_size=32)
net = UNet()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)

for epoch in range(EPOCHS):
    running = 0.0
    for i, (img, mask) in enumerate(train_loader):
        optimizer.zero_grad(set_to_none=True)
        logits = net(img)
        loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
        running += loss.item()
        (loss / ACCUM).backward()
        if (i + 1) % ACCUM == 0:
            optimizer.step()
    dice = validate(net, val_loader)
    print(f"epoch {epoch + 1}/{EPOCHS} loss {running / len(train_loader):.4f} val dice {dice:.4f}")

print(f"metric {1 - dice:.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
