import torch
import torch.nn as nn
import wellposed as wp


class Ensemble(nn.Module):
    def __init__(self, members=5):
        super().__init__()
        self.members = nn.ModuleList(
            [nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)) for _ in range(members)])

    def forward(self, x):
        return torch.stack([m(x) for m in self.members])       # M x N x 1


def ncl_loss(f, y, lam=0.3):
    """Liu & Yao 1999: each error minus lambda times the spread round the ensemble mean"""
    mean = f.mean(0, keepdim=True)
    mse = ((f - y) ** 2).mean()
    diversity = ((f - mean) ** 2).mean()
    return mse - lam * diversity


def problem():
    torch.manual_seed(0)
    x = torch.rand(200, 3) * 2 - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:2] + 0.1 * torch.randn(200, 1)
    e = Ensemble()
    return wp.TorchProblem(e, ncl_loss, (x, y), optimizer=torch.optim.Adam(e.parameters(), lr=5e-3))
