"""tabular classifier with categorical embeddings, BatchNorm and dropout in train mode"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cat = nn.ModuleList([nn.Embedding(n, 6) for n in (8, 12, 5)])
        self.net = nn.Sequential(
            nn.Linear(18 + 7, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(64, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(32, 2),
        )
        for e in self.cat:
            nn.init.normal_(e.weight, std=0.3)

    def forward(self, num, cat):
        return self.net(torch.cat([num] + [e(cat[:, i]) for i, e in enumerate(self.cat)], -1))


def make(seed):
    torch.manual_seed(seed)
    c = torch.stack([torch.randint(0, n, (96,)) for n in (8, 12, 5)], 1)
    x = torch.randn(96, 7)
    y = ((x[:, 0] + x[:, 1] * x[:, 2] + (c[:, 0] > 3).float() - 0.5) > 0).long()
    m = Net()
    return m, F.cross_entropy, ({"num": x, "cat": c}, y), torch.optim.AdamW(m.parameters(), lr=3e-3)
