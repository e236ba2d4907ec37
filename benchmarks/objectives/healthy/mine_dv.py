import math
import torch
import torch.nn as nn
import wellposed as wp


class Mine(nn.Module):
    def __init__(self, H=32):
        super().__init__()
        self.fc_x = nn.Linear(1, H)
        self.fc_y = nn.Linear(1, H, bias=False)
        self.out = nn.Linear(H, 1)

    def forward(self, x, y):
        return self.out(torch.relu(self.fc_x(x) + self.fc_y(y)))


def gen(n, rho=0.8):
    x = torch.randn(n, 1)
    return x, rho * x + math.sqrt(1 - rho ** 2) * torch.randn(n, 1)


def problem():
    torch.manual_seed(0)

    def neg_mi(T):
        x, y = gen(500)
        y_shuffle = y[torch.randperm(500)]
        joint = T(x, y).mean()
        marginal = torch.logsumexp(T(x, y_shuffle), 0).squeeze() - math.log(500)
        return -(joint - marginal)

    model = Mine()
    return wp.TorchProblem(model, neg_mi, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3))
