"""denoising of tabular rows with swap noise, the target is the clean row"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, D=20):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(D, 64),
            nn.BatchNorm1d(64),
            nn.SiLU(),
            nn.Linear(64, 64),
            nn.BatchNorm1d(64),
            nn.SiLU(),
            nn.Linear(64, D),
        )

    def forward(self, x):
        return self.net(x)


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(64, 6) @ torch.randn(6, 20)
    x = (x - x.mean(0)) / x.std(0)
    swap = torch.rand(64, 20) < 0.15
    return (
        (m := Net()),
        F.smooth_l1_loss,
        (torch.where(swap, x[torch.randperm(64)], x), x),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
