import math
import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class NormalInvGamma(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.dense = nn.Linear(i, 4 * o)

    def forward(self, x):
        gamma, v, alpha, beta = self.dense(x).chunk(4, dim=-1)
        return gamma, F.softplus(v), F.softplus(alpha) + 1, F.softplus(beta)


def nig_nll(y, gamma, v, alpha, beta):
    two_blambda = 2 * beta * (1 + v)
    return (0.5 * torch.log(math.pi / v) - alpha * torch.log(two_blambda)
            + (alpha + 0.5) * torch.log(v * (y - gamma) ** 2 + two_blambda)
            + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)).mean()


def evidential_loss(out, y, lam=1e-2):
    gamma, v, alpha, beta = out
    reg = ((y - gamma).abs() * (2 * v + alpha)).mean()
    return nig_nll(y, gamma, v, alpha, beta) + lam * reg


def problem():
    torch.manual_seed(0)
    x = torch.linspace(-4, 4, 200).view(-1, 1)
    y = (x / 4) ** 3 + 0.1 * torch.randn_like(x)
    model = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), NormalInvGamma(32, 1))
    return wp.TorchProblem(model, evidential_loss, (x, y), optimizer=torch.optim.Adam(model.parameters(), lr=5e-4))
