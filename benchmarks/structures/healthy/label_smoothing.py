"""cross-entropy with label smoothing by hand"""

import torch
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    c = torch.randn(6, 16)
    y = torch.randint(0, 6, (64,))
    x = c[y] + torch.randn(64, 16)
    x = (x - x.mean(0)) / x.std(0)
    m = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 6))

    def loss(o, y):
        t = torch.full_like(o, 0.1 / 6).scatter_add(1, y[:, None], torch.full((len(y), 1), 0.9))
        return -(t * o.log_softmax(-1)).sum(-1).mean()

    return m, loss, (x, y), torch.optim.Adam(m.parameters(), lr=2e-3)
