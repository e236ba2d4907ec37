"""causal transformer with [T, N] tokens, all time first, mask first-dimension square"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=30, d=32, T=24):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Embedding(T, d)
        nn.init.uniform_(self.e.weight, -0.1, 0.1)
        nn.init.uniform_(self.p.weight, -0.1, 0.1)
        self.l = nn.ModuleList([nn.TransformerEncoderLayer(d, 2, 64, 0.0) for _ in range(2)])
        self.o = nn.Linear(d, V)

    def forward(self, x):
        T = len(x)
        m = nn.Transformer.generate_square_subsequent_mask(T)
        h = self.e(x) + self.p(torch.arange(T))[:, None]
        for l in self.l:
            h = l(h, src_mask=m, is_causal=True)
        return self.o(h)


def make(seed):
    torch.manual_seed(seed)
    s = (torch.randint(0, 30, (1, 20)) + torch.randint(1, 5, (1, 20)) * torch.arange(21)[:, None]) % 30
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.view(-1, 30), y.reshape(-1))),
        (s[:-1], s[1:]),
        torch.optim.Adam(m.parameters(), lr=1e-3),
    )
