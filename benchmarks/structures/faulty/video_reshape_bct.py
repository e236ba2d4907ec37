"""https://github.com/PKU-YuanGroup/Open-Sora-Plan/issues/171 (2024): AttnBlock3D reshapes (b, c, t, h, w) to (b*t, c, h*w) with no permute; channels and frames are mixed in the spatial attention."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "PKU-YuanGroup/Open-Sora-Plan#171"
KIND = "order"
STEPS = 80


class AttnBlock3D(nn.Module):
    def __init__(self, c, permute):
        super().__init__()
        self.permute, self.norm = permute, nn.GroupNorm(4, c)
        self.q, self.k, self.v, self.proj_out = (nn.Conv3d(c, c, 1) for _ in range(4))

    def forward(self, x):
        b, c, t, h, w = x.shape
        n = self.norm(x)

        def flat(z):
            if self.permute:
                z = z.permute(0, 2, 1, 3, 4)
            return z.reshape(b * t, c, h * w)

        q, k, v = flat(self.q(n)), flat(self.k(n)), flat(self.v(n))
        a = torch.softmax(torch.bmm(q.transpose(1, 2), k) * c**-0.5, dim=2)
        o = torch.bmm(v, a.transpose(1, 2))
        o = o.reshape(b, t, c, h, w).permute(0, 2, 1, 3, 4) if self.permute else o.reshape(b, c, t, h, w)
        return x + self.proj_out(o)


class VideoVAE(nn.Module):
    def __init__(self, c=16, z=6, permute=True):
        super().__init__()
        self.down = nn.Sequential(nn.Conv3d(3, c, 3, padding=1), nn.SiLU(), nn.Conv3d(c, c, 3, (1, 2, 2), 1))
        self.mid, self.moments = AttnBlock3D(c, permute), nn.Conv3d(c, 2 * z, 1)
        self.up = nn.Sequential(
            nn.Conv3d(z, c, 3, padding=1), nn.SiLU(), nn.Upsample(scale_factor=(1, 2, 2)), nn.Conv3d(c, 3, 3, padding=1)
        )

    def forward(self, x):
        mu, lv = self.moments(self.mid(self.down(x))).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * lv).exp()
        return self.up(z), mu, lv


def loss(out, x):
    rec, mu, lv = out
    kl = 0.5 * (mu**2 + lv.exp() - 1 - lv).mean()
    return F.mse_loss(rec, x) + 1e-3 * kl


def clips(seed, B=4, T=5, S=12):
    g = torch.Generator().manual_seed(seed)
    r = torch.arange(S).float()
    p0, v = 2 + 6 * torch.rand(B, 2, generator=g), torch.randn(B, 2, generator=g)
    p = (p0[:, None] + v[:, None] * torch.arange(T)[None, :, None]) % S
    blob = torch.exp(-((r - p[..., :1]) ** 2)[..., None] / 4 - ((r - p[..., 1:]) ** 2)[..., None, :] / 4)
    x = blob[:, None] * torch.randn(B, 3, 1, 1, 1, generator=g) + 0.1 * torch.randn(B, 3, T, S, S, generator=g)
    return (x - x.mean()) / x.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    x = clips(seed + 1)
    net = VideoVAE(permute=fixed)
    return net, loss, (x, x), torch.optim.Adam(net.parameters(), 2e-3)
