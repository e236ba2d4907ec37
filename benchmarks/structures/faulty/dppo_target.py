"""Diffusion policy: an MLP denoiser predicts the noise in an action chunk, given state and step.

Fault: the loss compares the network's output with x_noisy, one of the network's own inputs, in
place of the noise.
Source: irom-princeton/dppo issue 14 (2024), "A question about the argument in mse_loss" (also
EDAPINENUT/GNTPP issue 5, 2023).
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "targets"
STEPS, CHUNK, ACT, OBS = 50, 4, 3, 6


class Denoiser(nn.Module):
    def __init__(self, h=128):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 32))
        self.net = nn.Sequential(
            nn.Linear(CHUNK * ACT + OBS + 32, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, CHUNK * ACT)
        )

    def forward(self, x_noisy, t, state):
        f = torch.exp(-math.log(1000) * torch.arange(8) / 8)
        emb = t[:, None].float() * f
        emb = self.time(torch.cat([emb.sin(), emb.cos()], -1))
        return self.net(torch.cat([x_noisy.flatten(1), state, emb], -1)).view_as(x_noisy)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    betas = torch.linspace(1e-3, 0.12, STEPS)
    abar = torch.cumprod(1 - betas, 0)
    state = torch.randn(B, OBS)
    W = torch.randn(OBS, CHUNK * ACT) / OBS**0.5
    actions = torch.tanh(state @ W).view(B, CHUNK, ACT) + 0.05 * torch.randn(B, CHUNK, ACT)
    t = torch.randint(0, STEPS, (B,))
    noise = torch.randn_like(actions)
    a = abar[t].view(-1, 1, 1)
    x_noisy = a.sqrt() * actions + (1 - a).sqrt() * noise
    model = Denoiser()
    target = noise if fixed else x_noisy.clone()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, F.mse_loss, ({"x_noisy": x_noisy, "t": t, "state": state}, target), opt
