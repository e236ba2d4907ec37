"""causal language model under CPU autocast bfloat16 with activation checkpointing"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    def __init__(self, V=30, d=32, T=24):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Parameter(torch.randn(T, d) * 0.02)
        nn.init.normal_(self.e.weight, std=0.1)
        self.l = nn.ModuleList(
            [nn.TransformerEncoderLayer(d, 4, 64, 0.0, batch_first=True, norm_first=True) for _ in range(2)]
        )
        self.n, self.o = nn.LayerNorm(d), nn.Linear(d, V)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = self.e(x) + self.p[: x.shape[1]]
            m = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            for l in self.l:
                h = checkpoint(l, h, m, use_reentrant=False)
            return self.o(self.n(h)).float()


def make(seed):
    torch.manual_seed(seed)
    s = (torch.randint(0, 30, (16, 1)) + torch.randint(1, 4, (16, 1)) * torch.arange(21)) % 30
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.transpose(1, 2), y)),
        (s[:, :-1], s[:, 1:]),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
