import math
import torch
import torch.nn as nn
import wellposed as wp

ONEOVERSQRT2PI = 1.0 / math.sqrt(2 * math.pi)


class MDN(nn.Module):
    def __init__(self, in_features, out_features, num_gaussians, hidden=32):
        super().__init__()
        self.shape = (-1, num_gaussians, out_features)
        self.h = nn.Sequential(nn.Linear(in_features, hidden), nn.Tanh())
        self.pi = nn.Sequential(nn.Linear(hidden, num_gaussians), nn.Softmax(dim=1))
        self.sigma = nn.Linear(hidden, out_features * num_gaussians)
        self.mu = nn.Linear(hidden, out_features * num_gaussians)

    def forward(self, x):
        h = self.h(x)
        return self.pi(h), torch.exp(self.sigma(h)).view(self.shape), self.mu(h).view(self.shape)


def mdn_loss(params, target):
    pi, sigma, mu = params
    target = target.unsqueeze(1).expand_as(sigma)
    prob = torch.prod(ONEOVERSQRT2PI * torch.exp(-0.5 * ((target - mu) / sigma) ** 2) / sigma, 2)
    nll = -torch.log(torch.sum(pi * prob, dim=1) + 1e-12)
    return torch.mean(nll)


def problem():
    torch.manual_seed(0)
    t = torch.rand(300, 1)
    x = t + 0.3 * torch.sin(2 * math.pi * t) + 0.05 * torch.randn_like(t)   # inverse problem (Bishop)
    model = MDN(1, 1, 4)
    return wp.TorchProblem(model, mdn_loss, (x, t), optimizer=torch.optim.Adam(model.parameters(), lr=5e-3))
