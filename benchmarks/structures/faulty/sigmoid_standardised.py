"""https://github.com/maxjcohen/transformer/issues/49 (2021): the time-series transformer ends in a sigmoid, though the series is not scaled to 0..1 (here standardised)."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "maxjcohen/transformer#49"
KIND = "range"
STEPS = 200


class TST(nn.Module):
    def __init__(self, fixed, f=5, d=40, out=2):
        super().__init__()
        self.fixed = fixed
        self.emb, self.pos = nn.Linear(f, d), nn.Parameter(torch.randn(24, d) * 0.1)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 4, 80, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        )
        self.lin = nn.Linear(d, out)

    def forward(self, x):
        y = self.lin(self.enc(self.emb(x) + self.pos[: x.shape[1]]))
        return y if self.fixed else torch.sigmoid(y)


def data(seed, n=64, T=24, f=5):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, T, f, generator=g).cumsum(1)
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    W = torch.randn(f, 2, generator=torch.Generator().manual_seed(6))
    y = torch.tanh(x) @ W + 0.1 * torch.randn(n, T, 2, generator=g)
    return x, (y - y.mean((0, 1))) / y.std((0, 1))


def make(seed, fixed):
    torch.manual_seed(seed)
    m = TST(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 1e-3)
