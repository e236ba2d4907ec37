"""copy task: sequence, separator, sequence; loss on the second half only"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=16, d=48, L=32, h=4):
        super().__init__()
        self.h, self.tok, self.pos = h, nn.Embedding(V, d), nn.Embedding(L, d)
        nn.init.normal_(self.tok.weight, std=0.3)
        nn.init.normal_(self.pos.weight, std=0.3)
        self.ln = nn.ModuleList([nn.LayerNorm(d) for _ in range(5)])
        self.qkv = nn.ModuleList([nn.Linear(d, 3 * d) for _ in range(2)])
        self.o = nn.ModuleList([nn.Linear(d, d) for _ in range(2)])
        self.ff = nn.ModuleList([nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)) for _ in range(2)])
        self.head = nn.Linear(d, V)
        self.register_buffer("keep", torch.ones(L, L).tril().bool(), persistent=False)

    def forward(self, x):
        B, T = x.shape
        z = self.tok(x) + self.pos.weight[:T]
        for i in range(2):
            q, k, v = self.qkv[i](self.ln[2 * i](z)).view(B, T, 3, self.h, -1).permute(2, 0, 3, 1, 4)
            s = (q @ k.transpose(-1, -2)) / q.shape[-1] ** 0.5
            s = torch.where(self.keep[:T, :T], s, torch.tensor(float("-inf")))
            z = z + self.o[i]((s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, -1))
            z = z + self.ff[i](self.ln[2 * i + 1](z))
        return self.head(self.ln[4](z))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    w = torch.randint(1, 16, (32, 12), generator=g)
    s = torch.cat([w, torch.zeros(32, 1, dtype=torch.long), w], 1)
    y = s[:, 1:].clone()
    y[:, :12] = -100
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())),
        (s[:, :-1], y),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
