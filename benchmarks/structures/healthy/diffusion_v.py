"""Diffusion U-Net with v-prediction: the target alpha*eps - sigma*x0 is another combination of the noise and the
clean image than the network's input alpha*x0 + sigma*eps."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class UNet(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.t = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 2 * c))
        self.inp = nn.Conv2d(1, c, 3, padding=1)
        self.down = nn.Sequential(nn.SiLU(), nn.Conv2d(c, 2 * c, 3, 2, 1))
        self.mid = nn.Sequential(nn.GroupNorm(4, 2 * c), nn.SiLU(), nn.Conv2d(2 * c, 2 * c, 3, padding=1))
        self.up = nn.ConvTranspose2d(2 * c, c, 4, 2, 1)
        self.out = nn.Sequential(nn.SiLU(), nn.Conv2d(2 * c, c, 3, padding=1), nn.SiLU(), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x_t, angle):
        e = self.t(torch.stack([angle.sin(), angle.cos()], -1))[:, :, None, None]
        a = self.inp(x_t)
        h = self.down(a) + e
        return self.out(torch.cat([a, self.up(h + self.mid(h))], 1))


def make(seed):
    torch.manual_seed(seed)
    B = 16
    x0 = F.interpolate(torch.randn(B, 1, 3, 3), size=(16, 16), mode="bilinear")
    x0 = (x0 - x0.mean()) / x0.std()
    eps, ang = torch.randn_like(x0), 1.5708 * torch.rand(B)
    al, sg = ang.cos().view(-1, 1, 1, 1), ang.sin().view(-1, 1, 1, 1)
    model = UNet()
    return (
        model,
        nn.MSELoss(),
        ({"x_t": al * x0 + sg * eps, "angle": ang}, al * eps - sg * x0),
        torch.optim.Adam(model.parameters(), lr=2e-3),
    )
