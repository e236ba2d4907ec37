import torch
import torch.nn as nn
import wellposed as wp


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class EnergyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), Swish(), nn.Linear(64, 64), Swish(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(-1)


def two_moons(n):
    th = torch.rand(n) * 3.1416
    up = torch.rand(n) < 0.5
    x = torch.where(up, torch.cos(th), 1 - torch.cos(th))
    y = torch.where(up, torch.sin(th), 0.5 - torch.sin(th))
    return torch.stack([x - 0.5, y - 0.25], 1) + 0.08 * torch.randn(n, 2)


def langevin(net, x, steps=10, step_size=0.05, noise=0.02):
    x = x.clone()
    for _ in range(steps):
        x.requires_grad_(True)
        g, = torch.autograd.grad(net(x).sum(), x)
        x = (x - step_size * g.clamp(-1, 1) + noise * torch.randn_like(x)).detach()
    return x.clamp(-3, 3)


def problem(alpha=0.1):
    torch.manual_seed(0)
    data = two_moons(256)
    net = EnergyNet()

    def cd_loss(energy):
        init = torch.rand(256, 2) * 6 - 3
        fake = langevin(energy, init)
        e_real, e_fake = energy(data), energy(fake)
        reg_loss = alpha * (e_real ** 2 + e_fake ** 2).mean()
        cdiv_loss = e_real.mean() - e_fake.mean()
        return cdiv_loss + reg_loss

    return wp.TorchProblem(net, cd_loss, optimizer=torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.999)))
