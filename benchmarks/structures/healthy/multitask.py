"""shared trunk, regression and classification heads, weighted sum of losses"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.r, self.c = nn.Linear(32, 2), nn.Linear(32, 3)

    def forward(self, x):
        h = self.t(x)
        return {"reg": self.r(h), "cls": self.c(h)}


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(64, 10)
    r = torch.tanh(x @ torch.randn(10, 2))
    r = (r - r.mean(0)) / r.std(0)
    c = (x @ torch.randn(10, 3)).argmax(-1)
    m = Net()
    return (
        m,
        (lambda o, t: 0.5 * F.mse_loss(o["reg"], t["reg"]) + 1.0 * F.cross_entropy(o["cls"], t["cls"])),
        (x, {"reg": r, "cls": c}),
        torch.optim.Adam(m.parameters(), lr=2e-3),
    )
