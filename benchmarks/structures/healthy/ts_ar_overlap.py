"""continuous autoregressive series, inputs x[0:T], targets x[1:T+1], causal transformer"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, C=2, d=32, L=32):
        super().__init__()
        self.i, self.p = nn.Linear(C, d), nn.Parameter(torch.randn(1, L, d) * 0.1)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, 0.0, batch_first=True), 2)
        self.o = nn.Linear(d, C)

    def forward(self, x):
        T = x.shape[1]
        return self.o(self.enc(self.i(x) + self.p[:, :T], mask=torch.full((T, T), float("-inf")).triu(1)))


def make(seed):
    torch.manual_seed(seed)
    ph, w = 6.3 * torch.rand(24, 1), 0.2 + 0.4 * torch.rand(24, 1)
    a = ph + w * torch.arange(33)
    s = torch.stack([a.sin(), a.cos()], -1) * 1.4 + 0.05 * torch.randn(24, 33, 2)
    m = Net()
    return m, F.mse_loss, (s[:, :-1], s[:, 1:]), torch.optim.Adam(m.parameters(), lr=1e-3)
