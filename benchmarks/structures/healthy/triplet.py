"""triplet margin loss over normalised embeddings"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Emb(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 12))

    def forward(self, a, p, n):
        return tuple(F.normalize(self.f(t), dim=-1) for t in (a, p, n))


def make(seed):
    torch.manual_seed(seed)
    c = torch.randn(8, 16)
    i = torch.randint(0, 8, (64,))
    j = (i + torch.randint(1, 8, (64,))) % 8
    s = lambda k: (c[k] + 1.5 * torch.randn(64, 16)) / 1.8
    m = Emb()
    tl = nn.TripletMarginLoss(margin=0.5)
    a, p, n = s(i), s(i), s(j)
    return m, (lambda model: tl(*model(a, p, n))), None, torch.optim.Adam(m.parameters(), lr=2e-3)
