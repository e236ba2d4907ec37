import torch
import torch.nn as nn
import wellposed as wp

LAMBDA = 10


def eight_gaussians(n):
    a = torch.randint(0, 8, (n,)) * (2 * torch.pi / 8)
    return (2 * torch.stack([a.cos(), a.sin()], 1) + 0.1 * torch.randn(n, 2)) / 1.414


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 64), nn.ReLU(True), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, 2))

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(nn.Linear(2, 64), nn.ReLU(True), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, 1))

    def forward(self, x):
        return self.main(x).view(-1)


def calc_gradient_penalty(netD, real, fake):
    alpha = torch.rand(real.size(0), 1)
    interp = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    out = netD(interp)
    grad = torch.autograd.grad(out, interp, torch.ones_like(out), create_graph=True, retain_graph=True)[0]
    return ((grad.norm(2, dim=1) - 1) ** 2).mean() * LAMBDA


def problem():
    torch.manual_seed(0)
    netG, netD = Generator(), Discriminator()

    def d_cost(D):
        real = eight_gaussians(128)
        with torch.no_grad():
            fake = netG(torch.randn(128, 2))
        return D(fake).mean() - D(real).mean() + calc_gradient_penalty(D, real, fake)

    return wp.TorchProblem(netD, d_cost, optimizer=torch.optim.Adam(netD.parameters(), lr=1e-4, betas=(0.5, 0.9)))
