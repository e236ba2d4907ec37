import torch
import torch.nn as nn
from torch.distributions import Beta
import wellposed as wp


class BetaRegression(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.w_mu = nn.Parameter(0.01 * torch.randn(p))
        self.b_mu = nn.Parameter(torch.zeros(1))
        self.w_phi = nn.Parameter(0.01 * torch.randn(p))
        self.b_phi = nn.Parameter(torch.ones(1))

    def forward(self, x):
        mu = torch.sigmoid(x @ self.w_mu + self.b_mu)
        phi = torch.exp(x @ self.w_phi + self.b_phi)
        return Beta(mu * phi, (1 - mu) * phi)


def problem():
    torch.manual_seed(0)
    x = torch.randn(500, 4)
    m = torch.sigmoid(x @ torch.tensor([.8, -.5, .3, 0.]))
    y = Beta(m * 20, (1 - m) * 20).sample().clamp(1e-4, 1 - 1e-4)
    model = BetaRegression(4)
    return wp.TorchProblem(model, lambda d, t: -d.log_prob(t).mean(), (x, y),
                           optimizer=torch.optim.Adam(model.parameters(), lr=0.02))
