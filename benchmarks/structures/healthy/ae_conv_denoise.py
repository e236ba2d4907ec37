"""convolutional denoising autoencoder, clean image as target, sigmoid output in 0..1"""

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU())
        self.dec = nn.Sequential(nn.ConvTranspose2d(24, 16, 2, 2), nn.ReLU(), nn.ConvTranspose2d(16, 1, 2, 2))

    def forward(self, x):
        return torch.sigmoid(self.dec(self.enc(x)))


def make(seed):
    torch.manual_seed(seed)
    u = torch.linspace(-1, 1, 16)
    c = torch.rand(32, 2) - 0.5
    r = 0.2 + 0.4 * torch.rand(32)
    d = ((u[None, :, None] - c[:, 0, None, None]) ** 2 + (u[None, None] - c[:, 1, None, None]) ** 2).sqrt()
    img = torch.sigmoid((r[:, None, None] - d) * 12)[:, None]
    noisy = (img - 0.3) / 0.4 + 0.5 * torch.randn_like(img)
    m = Net()
    return m, nn.MSELoss(), (noisy, img), torch.optim.Adam(m.parameters(), lr=3e-3)
