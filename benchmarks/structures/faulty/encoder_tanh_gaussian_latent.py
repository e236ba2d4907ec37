"""https://github.com/dbbbbm/f-AnoGAN-PyTorch/issues/6 (2021): the encoder ends in tanh but must recover latents drawn from randn (ziz training), a third of which lie outside [-1, 1]."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "dbbbbm/f-AnoGAN-PyTorch#6"
KIND = "range"
STEPS = 150


def generator(z=12):
    return nn.Sequential(
        nn.Linear(z, 32 * 9),
        nn.LeakyReLU(0.2),
        nn.Unflatten(1, (32, 3, 3)),
        nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Tanh(),
    )


class Encoder(nn.Module):
    def __init__(self, z=12, c=24, squash=False):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(c, 2 * c, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten()
        )
        self.fc = nn.Linear(2 * c * 9, z)
        self.act = nn.Tanh() if squash else nn.Identity()

    def forward(self, img):
        return self.act(self.fc(self.body(img)))


def make(seed, fixed):
    torch.manual_seed(seed)
    G = generator()
    for m in G.modules():
        if isinstance(m, (nn.Linear, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, std=0.15)
            nn.init.zeros_(m.bias)
    z = torch.randn(96, 12)
    with torch.no_grad():
        img = G(z)
    img = (img - img.mean()) / img.std()
    E = Encoder(squash=not fixed)
    return E, nn.MSELoss(), (img, z), torch.optim.Adam(E.parameters(), lr=2e-3, betas=(0.5, 0.999))
