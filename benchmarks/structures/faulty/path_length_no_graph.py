"""https://github.com/rosinality/stylegan2-pytorch/issues/32 (2020): g_path_regularize written with autograd.grad but without create_graph=True; the path penalty is a number with no gradient."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "rosinality/stylegan2-pytorch#32"
KIND = "terms"
STEPS = 80


class Mapping(nn.Sequential):
    def __init__(self, d):
        super().__init__(nn.Linear(d, d), nn.LeakyReLU(0.2), nn.Linear(d, d), nn.LeakyReLU(0.2))


class StyledConv(nn.Module):
    def __init__(self, i, o, d):
        super().__init__()
        self.conv, self.scale, self.shift = nn.Conv2d(i, o, 3, padding=1), nn.Linear(d, i), nn.Linear(d, o)

    def forward(self, x, w):
        y = self.conv(x * (1 + self.scale(w))[:, :, None, None])
        return F.leaky_relu(y + self.shift(w)[:, :, None, None], 0.2)


class Generator(nn.Module):
    def __init__(self, d=24, c=20):
        super().__init__()
        self.mapping, self.const = Mapping(d), nn.Parameter(torch.randn(1, c, 4, 4))
        self.s1, self.s2, self.rgb = StyledConv(c, c, d), StyledConv(c, c, d), nn.Conv2d(c, 3, 1)

    def forward(self, z):
        w = self.mapping(z)
        x = self.s1(self.const.expand(len(z), -1, -1, -1), w)
        return self.rgb(self.s2(F.interpolate(x, scale_factor=2), w)), w


def g_path_regularize(img, latents, mean_path_length, create_graph, noise):
    noise = noise / math.sqrt(img.shape[2] * img.shape[3])
    (grad,) = torch.autograd.grad((img * noise).sum(), latents, create_graph=create_graph, retain_graph=True)
    lengths = grad.pow(2).sum(1).sqrt()
    return (lengths - mean_path_length).pow(2).mean()


def make(seed, fixed):
    torch.manual_seed(seed)
    G = Generator()
    D = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(16, 16, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64, 1),
    ).requires_grad_(False)
    g = torch.Generator().manual_seed(seed + 8)
    z, noise = torch.randn(16, 24, generator=g), torch.randn(16, 3, 8, 8, generator=g)

    def loss(model):
        fake, w = model(z)
        adv = F.softplus(-D(torch.tanh(fake))).mean()
        return adv + 2.0 * g_path_regularize(fake, w, 1.0, fixed, noise)

    return G, loss, None, torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.99))
