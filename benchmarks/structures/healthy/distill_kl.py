"""distillation: KL(teacher || student) with temperature, log-probabilities first, plus hard labels"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    c = torch.randn(5, 12)
    y = torch.randint(0, 5, (96,))
    x = c[y] + torch.randn(96, 12)
    x = (x - x.mean(0)) / x.std(0)
    T = nn.Sequential(nn.Linear(12, 96), nn.ReLU(), nn.Linear(96, 5))
    o = torch.optim.Adam(T.parameters(), lr=5e-3)
    for i in range(60):
        o.zero_grad()
        F.cross_entropy(T(x), y).backward()
        o.step()
    T.eval().requires_grad_(False)
    t = T(x)
    m = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5))
    tau = 3.0

    def loss(s, tgt):
        y, t = tgt
        return 0.3 * F.cross_entropy(s, y) + 0.7 * tau**2 * F.kl_div(
            F.log_softmax(s / tau, -1), F.softmax(t / tau, -1), reduction="batchmean"
        )

    return m, loss, (x, (y, t)), torch.optim.Adam(m.parameters(), lr=5e-3)
