"""causal encoder, classifies from the last real token"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=40, d=32, L=20, K=4):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Embedding(L, d)
        for q in (self.e, self.p):
            nn.init.normal_(q.weight, std=0.2)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 2, 64, 0.0, batch_first=True, norm_first=True),
            2,
            norm=nn.LayerNorm(d),
            enable_nested_tensor=False,
        )
        self.score = nn.Linear(d, K, bias=False)

    def forward(self, x):
        T = x.shape[1]
        n = (x != 0).sum(1)
        h = self.enc(self.e(x) + self.p.weight[:T], mask=torch.ones(T, T, dtype=torch.bool).triu(1))
        return self.score(h[torch.arange(len(x)), n - 1])


def make(seed):
    torch.manual_seed(seed)
    B, T = 32, 16
    n = torch.randint(5, T + 1, (B,))
    x = torch.randint(1, 40, (B, T))
    x = x * (torch.arange(T)[None] < n[:, None])
    y = x[:, 0] % 2 * 2 + (x[torch.arange(B), n - 1] > 20).long()
    m = Net()
    return m, F.cross_entropy, (x, y), torch.optim.AdamW(m.parameters(), lr=1e-3)
