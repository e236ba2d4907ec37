import torch
import torch.nn as nn
import wellposed as wp


class DeepCCA(nn.Module):
    def __init__(self, d1, d2, k=3):
        super().__init__()
        self.f1 = nn.Sequential(nn.Linear(d1, 32), nn.Sigmoid(), nn.BatchNorm1d(32, affine=False), nn.Linear(32, k))
        self.f2 = nn.Sequential(nn.Linear(d2, 32), nn.Sigmoid(), nn.BatchNorm1d(32, affine=False), nn.Linear(32, k))

    def forward(self, views):
        return self.f1(views[0]), self.f2(views[1])


def inv_sqrt(S):
    D, V = torch.linalg.eigh(S)
    return V @ torch.diag(D.clamp_min(1e-9) ** -0.5) @ V.T


def cca_loss(H, _, r=1e-3):
    H1, H2 = (h - h.mean(0) for h in H)
    n, k = H1.shape
    S12 = H1.T @ H2 / (n - 1)
    S11 = H1.T @ H1 / (n - 1) + r * torch.eye(k)
    S22 = H2.T @ H2 / (n - 1) + r * torch.eye(k)
    T = inv_sqrt(S11) @ S12 @ inv_sqrt(S22)
    return -torch.linalg.svdvals(T).sum()


def problem():
    torch.manual_seed(0)
    s = torch.randn(300, 3)
    v1 = torch.tanh(s @ torch.randn(3, 12)) + 0.3 * torch.randn(300, 12)
    v2 = torch.sin(s @ torch.randn(3, 9)) + 0.3 * torch.randn(300, 9)
    model = DeepCCA(12, 9)
    return wp.TorchProblem(model, cca_loss, ((v1, v2), torch.zeros(300)),
                           optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3))
