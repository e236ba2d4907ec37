"""reverse task, bidirectional encoder without teacher forcing"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=12, d=48, T=12):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Parameter(torch.randn(1, T, d) * 0.5)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 96, 0.0, batch_first=True), 2)
        self.o = nn.Linear(d, V)

    def forward(self, x):
        return self.o(self.enc(self.e(x) + self.p))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    x = torch.randint(0, 12, (32, 12), generator=g)
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.transpose(1, 2), y)),
        (x, x.flip(1)),
        torch.optim.Adam(m.parameters(), lr=1e-3),
    )
