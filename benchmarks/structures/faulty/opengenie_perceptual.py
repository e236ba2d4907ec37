"""Video-frame tokenizer (convolutional autoencoder) with a perceptual loss on features of a frozen network.

Fault: the probe that records the features detaches them, for the reconstruction too, so that the
perceptual term has no gradient.
Source: myscience/open-genie issue 6 (2025), "Question about the PerceptualLoss and RecordingProbe".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "terms"


class Tokenizer(nn.Module):
    def __init__(self, c=32, z=8):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(3, c, 4, 2, 1), nn.SiLU(), nn.Conv2d(c, c, 4, 2, 1), nn.SiLU(), nn.Conv2d(c, z, 1)
        )
        self.dec = nn.Sequential(
            nn.ConvTranspose2d(z, c, 4, 2, 1),
            nn.SiLU(),
            nn.ConvTranspose2d(c, c, 4, 2, 1),
            nn.SiLU(),
            nn.Conv2d(c, 3, 3, padding=1),
        )

    def forward(self, frames):
        return self.dec(self.enc(frames))


class PerceptualLoss(nn.Module):
    def __init__(self, detach):
        super().__init__()
        self.detach = detach
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1)
        )
        self.probe_at = (2, 4)
        for p in self.parameters():
            p.requires_grad_(False)
        self.eval()

    def record(self, x):
        feats = []
        for i, layer in enumerate(self.net):
            x = layer(x)
            if i in self.probe_at:
                feats.append(x.detach() if self.detach else x)
        return feats

    def forward(self, rec, real):
        return sum(F.mse_loss(a, b) / b.var() for a, b in zip(self.record(rec), self.record(real)))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 8
    x = F.interpolate(torch.randn(B, 3, 5, 5), size=(24, 24), mode="bilinear")
    x[:, :, ::6] += 0.7  # horizontal bars: texture
    x = (x - x.mean()) / x.std() + 0.1 * torch.randn(B, 3, 24, 24)
    model, perc = Tokenizer(), PerceptualLoss(detach=not fixed)

    def loss(rec, real):
        return F.mse_loss(rec, real) + 0.5 * perc(rec, real)

    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, loss, (x, x.clone()), opt
