"""masked autoencoder: visible patches encoded, loss on masked patches, target is the input image"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class MAE(nn.Module):
    def __init__(self, P=16, N=16, d=32):
        super().__init__()
        self.N = N
        self.i, self.pe, self.pd = (
            nn.Linear(P, d),
            nn.Parameter(torch.randn(1, N, d) * 0.1),
            nn.Parameter(torch.randn(1, N, d) * 0.1),
        )
        self.mt = nn.Parameter(torch.randn(1, 1, d) * 0.02)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, 0.0, batch_first=True), 1)
        self.dec = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, 0.0, batch_first=True), 1)
        self.o = nn.Linear(d, P)

    def forward(self, p, keep):
        ix = keep[..., None].expand(-1, -1, self.pe.shape[-1])
        h = self.enc((self.i(p) + self.pe).gather(1, ix))
        full = self.mt.expand(len(p), self.N, -1).scatter(1, ix, h)
        return self.o(self.dec(full + self.pd))


def make(seed):
    torch.manual_seed(seed)
    img = F.interpolate(torch.randn(32, 1, 3, 3), size=16, mode="bilinear")
    img = (img - img.mean()) / img.std()
    p = F.unfold(img, 4, stride=4).transpose(1, 2)
    keep = torch.rand(32, 16).argsort(1)[:, :6]
    masked = torch.ones(32, 16).scatter(1, keep, 0.0)
    m = MAE()
    return (
        m,
        (lambda o, t: (((o - t[0]) ** 2).mean(-1) * t[1]).sum() / t[1].sum()),
        ((p, keep), (p, masked)),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
