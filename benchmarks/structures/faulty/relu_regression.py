"""https://github.com/ProteomicsML/ProteomicsML/pull/203 (2026): ReLU after the last regression layer; standardised targets are half negative."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "ProteomicsML/ProteomicsML#203"
KIND = "range"
STEPS = 200


class IonMobility(nn.Module):
    def __init__(self, fixed, V=21, d=24, h=32):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        nn.init.normal_(self.emb.weight, std=0.5)
        self.rnn = nn.LSTM(d, h, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * h)
        head = [nn.Linear(2 * h + 1, 32), nn.ReLU(), nn.Linear(32, 1)] + ([] if fixed else [nn.ReLU()])
        self.head = nn.Sequential(*head)

    def forward(self, peptide, charge):
        h, _ = self.rnn(self.emb(peptide))
        return self.head(torch.cat([self.norm(h.mean(1)), charge[:, None]], 1))[:, 0]


def data(seed, n=128, L=12):
    g = torch.Generator().manual_seed(seed)
    p = torch.randint(1, 21, (n, L), generator=g)
    c = torch.randint(0, 3, (n,), generator=g).float() - 1
    w = torch.randn(21, generator=torch.Generator().manual_seed(9))
    y = w[p].sum(1) / L**0.5 + 0.7 * c + 0.1 * torch.randn(n, generator=g)
    return (p, c), (y - y.mean()) / y.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = IonMobility(fixed)
    return m, nn.L1Loss(), data(1), torch.optim.Adam(m.parameters(), 2e-3)
