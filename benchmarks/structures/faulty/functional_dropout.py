"""https://github.com/delip/PyTorchNLPBook/issues/28 (2020): F.dropout(x, p) without training=self.training drops at evaluation too; character conv classifier."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "delip/PyTorchNLPBook#28"
KIND = "mode"
STEPS = 150
V, C = 28, 6


class SurnameCNN(nn.Module):
    def __init__(self, fixed, c=48):
        super().__init__()
        self.fixed = fixed
        self.emb = nn.Embedding(V, 24)
        nn.init.normal_(self.emb.weight, std=0.5)
        self.conv = nn.Sequential(nn.Conv1d(24, c, 3), nn.ELU(), nn.Conv1d(c, c, 3, stride=2), nn.ELU())
        self.fc1, self.fc2 = nn.Linear(c, 64), nn.Linear(64, C)

    def forward(self, name):
        h = self.conv(self.emb(name).transpose(1, 2)).mean(-1)
        on = self.training if self.fixed else True
        h = F.relu(self.fc1(F.dropout(h, 0.4, training=on)))
        return self.fc2(F.dropout(h, 0.4, training=on))


def data(seed, n=128, L=14):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, C, (n,), generator=g)
    tab = torch.randn(C, V, generator=torch.Generator().manual_seed(2)).mul(0.9).softmax(-1)
    return torch.stack([torch.multinomial(tab[k], L, True, generator=g) for k in y]), y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = SurnameCNN(fixed)
    return m, nn.CrossEntropyLoss(), data(1), torch.optim.Adam(m.parameters(), 2e-3)
