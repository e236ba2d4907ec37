import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class ELRLoss(nn.Module):
    """early-learning regularisation for noisy labels (Liu et al. 2020)"""

    def __init__(self, num_examp, num_classes, beta=0.7, lam=3.0):
        super().__init__()
        self.register_buffer("target", torch.zeros(num_examp, num_classes))
        self.beta, self.lam = beta, lam

    def forward(self, output, label):
        index, y = label["index"], label["y"]
        y_pred = torch.clamp(F.softmax(output, dim=1), 1e-4, 1.0 - 1e-4)
        y_ = y_pred.detach()
        self.target[index] = self.beta * self.target[index] + (1 - self.beta) * (y_ / y_.sum(dim=1, keepdim=True))
        ce = F.cross_entropy(output, y)
        elr = (1 - (self.target[index] * y_pred).sum(dim=1)).log().mean()
        return ce + self.lam * elr


def problem():
    torch.manual_seed(0)
    c = 2 * torch.randn(4, 10)
    y = torch.randint(0, 4, (160,))
    x = c[y] + torch.randn(160, 10)
    flip = torch.rand(160) < 0.3
    y_noisy = torch.where(flip, torch.randint(0, 4, (160,)), y)
    net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 4))
    return wp.TorchProblem(net, ELRLoss(160, 4), (x, {"y": y_noisy, "index": torch.arange(160)}),
                           optimizer=torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3))
