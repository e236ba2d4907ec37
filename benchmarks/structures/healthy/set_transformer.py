"""ISAB/PMA set transformer: attention without positions, on purpose"""

import torch
from torch import nn

torch.set_num_threads(1)


class MAB(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.a, self.n1, self.n2, self.f = (
            nn.MultiheadAttention(d, h, batch_first=True),
            nn.LayerNorm(d),
            nn.LayerNorm(d),
            nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d)),
        )

    def forward(self, q, k, pad=None):
        h = self.n1(q + self.a(q, k, k, key_padding_mask=pad, need_weights=False)[0])
        return self.n2(h + self.f(h))


class ST(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.i = nn.Linear(2, d)
        self.I = nn.Parameter(torch.randn(1, 4, d) * d**-0.5)
        self.S = nn.Parameter(torch.randn(1, 1, d) * d**-0.5)
        self.m1, self.m2, self.p, self.o = MAB(d, 4), MAB(d, 4), MAB(d, 4), nn.Linear(d, 1)

    def forward(self, x, pad):
        h = self.i(x)
        B = len(x)
        h = self.m2(h, self.m1(self.I.expand(B, -1, -1), h, pad))
        return self.o(self.p(self.S.expand(B, -1, -1), h, pad))[:, 0, 0]


def make(seed):
    torch.manual_seed(seed)
    n = torch.randint(4, 11, (32,))
    pad = torch.arange(10)[None] >= n[:, None]
    x = torch.randn(32, 10, 2).masked_fill(pad[..., None], 0.0)
    y = x[..., 0].masked_fill(pad, -9).amax(1)
    y = (y - y.mean()) / y.std()
    m = ST()
    return m, nn.MSELoss(), ((x, pad), y), torch.optim.Adam(m.parameters(), lr=1e-3)
