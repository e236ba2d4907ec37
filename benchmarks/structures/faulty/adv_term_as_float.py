"""https://github.com/guopengf/FL-MRCM/issues/10 (2022): loss_adv_g is detached and turned into a Python number (against a memory leak) before it is added to the reconstruction loss; the alignment of sites gets no gradient."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "guopengf/FL-MRCM#10"
KIND = "terms"
STEPS = 120


class ReconNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(c, 2 * c, 3, 2, 1), nn.LeakyReLU(0.2)
        )
        self.dec = nn.Sequential(
            nn.Conv2d(2 * c, c, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(c, 1, 3, padding=1),
        )

    def forward(self, x):
        z = self.enc(x)
        return x + self.dec(z), z


def site_images(seed, n=12, S=16):
    g = torch.Generator().manual_seed(seed)
    full = F.interpolate(torch.randn(2 * n, 1, 4, 4, generator=g), size=(S, S), mode="bicubic")
    full[n:] = full[n:] * 0.7 + 0.5  # the other hospital has another contrast
    full = (full - full.mean()) / full.std()
    k = torch.fft.fft2(full)
    keep = (torch.rand(S, generator=g) < 0.4) | (torch.fft.fftfreq(S).abs() < 0.13)
    return torch.fft.ifft2(k * keep).real, full


def pretrained_critic(net, x, n):
    d = nn.Sequential(nn.Conv2d(32, 16, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16 * 16, 1))
    o = torch.optim.Adam(d.parameters(), 1e-3)
    with torch.no_grad():
        z = net(x)[1]
    y = torch.cat([torch.ones(n, 1), torch.zeros(n, 1)])
    for _ in range(30):
        o.zero_grad()
        F.binary_cross_entropy_with_logits(d(z), y).backward()
        o.step()
    return d.requires_grad_(False)


def make(seed, fixed):
    torch.manual_seed(seed)
    x, full = site_images(seed + 1)
    n = len(x) // 2
    net = ReconNet()
    D = pretrained_critic(net, x, n)
    log = []

    def loss(out, y):
        rec, z = out
        loss_rec = F.l1_loss(rec, y)
        loss_adv_g = F.binary_cross_entropy_with_logits(
            D(z[n:]), torch.ones(n, 1)
        )  # target site should look like source
        if not fixed:
            loss_adv_g = loss_adv_g.detach().item()
        log.append(float(loss_adv_g))
        return loss_rec + 0.1 * loss_adv_g

    return net, loss, (x, full), torch.optim.Adam(net.parameters(), 1e-3)
