"""two-tower recommender with embeddings and biases, BPR loss with sampled negatives"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class MF(nn.Module):
    def __init__(self, U=40, I=60, d=12):
        super().__init__()
        self.u, self.i, self.b = nn.Embedding(U, d), nn.Embedding(I, d), nn.Embedding(I, 1)
        nn.init.normal_(self.u.weight, std=0.1)
        nn.init.normal_(self.i.weight, std=0.1)
        nn.init.zeros_(self.b.weight)

    def forward(self, user, pos, neg):
        s = lambda k: (self.u(user) * self.i(k)).sum(-1) + self.b(k)[:, 0]
        return s(pos) - s(neg)


def make(seed):
    torch.manual_seed(seed)
    u = torch.randint(0, 40, (128,))
    p = torch.randint(0, 30, (128,)) * 2 + u % 2
    n = torch.randint(0, 30, (128,)) * 2 + (u + 1) % 2
    m = MF()
    return (
        m,
        F.binary_cross_entropy_with_logits,
        ((u, p, n), torch.ones(128)),
        torch.optim.Adam(m.parameters(), lr=1e-2),
    )
