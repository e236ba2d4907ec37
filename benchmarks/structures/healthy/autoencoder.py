"""Convolutional autoencoder of images with a narrow code: the target is the input, as it should be."""

import torch
import torch.nn as nn


class ConvAE(nn.Module):
    def __init__(self, c=24, code=16):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, c, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(c, c, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(c * 25, code),
        )
        self.dec = nn.Sequential(
            nn.Linear(code, c * 25),
            nn.ReLU(),
            nn.Unflatten(1, (c, 5, 5)),
            nn.ConvTranspose2d(c, c, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(c, 1, 4, 2, 1),
        )

    def forward(self, x):
        return self.dec(self.enc(x))


def make(seed):
    torch.manual_seed(seed)
    x = torch.nn.functional.interpolate(torch.randn(24, 1, 3, 3), size=(20, 20), mode="bilinear")
    x = (x - x.mean()) / x.std() + 0.1 * torch.randn(24, 1, 20, 20)
    model = ConvAE()
    return model, nn.MSELoss(), (x, x), torch.optim.Adam(model.parameters(), lr=3e-3)
