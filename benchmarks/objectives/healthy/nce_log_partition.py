import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class UnnormalisedModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
        self.c = nn.Parameter(torch.zeros(()))       # minus log partition function

    def forward(self, x):
        return self.f(x).squeeze(-1) + self.c


def problem():
    torch.manual_seed(0)
    a = 6.2832 * torch.rand(400)
    r = 1.5 + 0.15 * torch.randn(400)
    data = torch.stack([r * a.cos(), r * a.sin()], 1)
    noise = torch.distributions.MultivariateNormal(data.mean(0), torch.cov(data.T))

    def nce(model):
        xn = noise.sample((400,))
        g_data = model(data) - noise.log_prob(data)
        g_noise = model(xn) - noise.log_prob(xn)
        return -(F.logsigmoid(g_data).mean() + F.logsigmoid(-g_noise).mean())

    m = UnnormalisedModel()
    return wp.TorchProblem(m, nce, optimizer=torch.optim.Adam(m.parameters(), lr=1e-3))
