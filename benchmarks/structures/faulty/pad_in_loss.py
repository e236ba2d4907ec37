"""https://github.com/EleutherAI/aria/pull/40 (2023): padding tokens take part in the language-model loss (most of it, with short sequences)."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "EleutherAI/aria#40"
KIND = "padding"
STEPS = 200
V, PAD = 24, 0


class MidiLM(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.emb = nn.Embedding(V, d, padding_idx=PAD)
        nn.init.normal_(self.emb.weight[1:].data, std=0.3)
        self.rnn = nn.GRU(d, 64, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(64)
        self.out = nn.Linear(64, V)

    def forward(self, events):
        return self.out(self.norm(self.rnn(self.emb(events))[0]))


def data(seed, n=96, L=40):
    g = torch.Generator().manual_seed(seed)
    s = torch.zeros(n, L + 1, dtype=torch.long)
    for i in range(n):
        k = int(torch.randint(6, 15, (1,), generator=g))
        s[i, 0] = torch.randint(1, V, (1,), generator=g)
        for t in range(1, k):
            s[i, t] = (
                (s[i, t - 1] * 5 + 3) % (V - 1) + 1
                if torch.rand(1, generator=g) < 0.8
                else torch.randint(1, V, (1,), generator=g)
            )
    return s[:, :-1], s[:, 1:]


def make(seed, fixed):
    torch.manual_seed(seed)
    m = MidiLM()
    ignore = PAD if fixed else -100
    return (
        m,
        lambda o, t: F.cross_entropy(o.reshape(-1, V), t.reshape(-1), ignore_index=ignore),
        data(1),
        torch.optim.Adam(m.parameters(), 3e-3),
    )
