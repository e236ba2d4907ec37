"""three quantiles with the pinball loss"""

import torch
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(128, 4)
    y = x[:, :1] + (0.3 + 0.3 * x[:, 1:2].abs()) * torch.randn(128, 1)
    y = (y - y.mean()) / y.std()
    q = torch.tensor([0.1, 0.5, 0.9])
    m = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 3))
    return (
        m,
        (lambda o, y: torch.maximum(q * (y - o), (q - 1) * (y - o)).mean()),
        (x, y),
        torch.optim.Adam(m.parameters(), lr=3e-3),
    )
