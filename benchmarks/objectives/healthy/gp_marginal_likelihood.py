import math
import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class DeepKernelGP(nn.Module):
    def __init__(self):
        super().__init__()
        self.feat = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 2))
        self.raw_ls = nn.Parameter(torch.zeros(()))
        self.raw_os = nn.Parameter(torch.zeros(()))
        self.raw_noise = nn.Parameter(torch.tensor(-2.))

    def cov(self, x):
        f = self.feat(x) / F.softplus(self.raw_ls)
        d2 = (f.unsqueeze(1) - f.unsqueeze(0)).pow(2).sum(-1)
        K = F.softplus(self.raw_os) * torch.exp(-0.5 * d2)
        return K + (F.softplus(self.raw_noise) + 1e-4) * torch.eye(len(x))


def problem():
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 60).view(-1, 1)
    y = 0.5 * torch.sin(3 * x).squeeze() + 0.05 * torch.randn(60)

    def neg_mll(gp):
        L = torch.linalg.cholesky(gp.cov(x))
        a = torch.cholesky_solve(y.unsqueeze(1), L).squeeze(1)
        return 0.5 * y @ a + L.diagonal().log().sum() + 0.5 * len(y) * math.log(2 * math.pi)

    gp = DeepKernelGP()
    return wp.TorchProblem(gp, neg_mll, optimizer=torch.optim.Adam(gp.parameters(), lr=0.02))
