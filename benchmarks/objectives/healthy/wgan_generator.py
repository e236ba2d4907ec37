import torch
import torch.nn as nn
import wellposed as wp


class DCGenerator(nn.Module):
    def __init__(self, nz=12, ngf=8):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False), nn.BatchNorm2d(ngf * 2), nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False), nn.Tanh())

    def forward(self, z):
        return self.main(z[:, :, None, None])


class Critic(nn.Module):
    def __init__(self, ndf=8):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0))

    def forward(self, x):
        return self.main(x).view(-1)


def problem():
    torch.manual_seed(0)
    G, C = DCGenerator(), Critic()
    for p in C.parameters():
        p.requires_grad_(False)

    def generator_loss(fake, _):
        return -C(fake).mean()

    z = torch.randn(32, 12)
    return wp.TorchProblem(G, generator_loss, (z, torch.ones(32)),
                           optimizer=torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0., 0.9)))
