"""GCN node classification, dense normalised adjacency with self loops, loss on training nodes only"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class GCN(nn.Module):
    def __init__(self, d=16, h=32, K=4):
        super().__init__()
        self.w1, self.w2, self.drop = nn.Linear(d, h), nn.Linear(h, K), nn.Dropout(0.3)

    def forward(self, x, A):
        return A @ self.w2(self.drop(F.relu(A @ self.w1(x))))


def make(seed):
    torch.manual_seed(seed)
    N = 80
    c = torch.randint(0, 4, (N,))
    p = torch.where(c[:, None] == c[None], 0.15, 0.02)
    A = (torch.rand(N, N) < p).float().triu(1)
    A = A + A.T + torch.eye(N)
    d = A.sum(1).rsqrt()
    A = d[:, None] * A * d[None]
    x = torch.randn(4, 16)[c] * 0.7 + torch.randn(N, 16)
    x = (x - x.mean(0)) / x.std(0)
    train = torch.rand(N) < 0.4
    m = GCN()
    return (
        m,
        (lambda o, t: F.cross_entropy(o[t[1]], t[0][t[1]])),
        ({"x": x, "A": A}, (c, train)),
        torch.optim.Adam(m.parameters(), lr=1e-2, weight_decay=5e-4),
    )
