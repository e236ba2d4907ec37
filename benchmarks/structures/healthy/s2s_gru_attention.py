"""GRU encoder-decoder with Bahdanau attention, teacher forcing step by step, source mask"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=30, d=32):
        super().__init__()
        self.es, self.et = nn.Embedding(V, d), nn.Embedding(V, d)
        self.enc, self.cell = nn.GRU(d, d // 2, batch_first=True, bidirectional=True), nn.GRUCell(2 * d, d)
        self.wa, self.ua, self.va, self.init = (
            nn.Linear(d, d),
            nn.Linear(d, d, bias=False),
            nn.Linear(d, 1, bias=False),
            nn.Linear(d, d),
        )
        self.out = nn.Linear(2 * d, V)

    def forward(self, src, tgt_in):
        mem, mask = self.enc(self.es(src))[0], src == 0
        real = (~mask).float()[..., None]
        h = torch.tanh(self.init((mem * real).sum(1) / real.sum(1)))
        keys, outs = self.ua(mem), []
        for t in range(tgt_in.shape[1]):
            s = self.va(torch.tanh(self.wa(h)[:, None] + keys)).squeeze(-1).masked_fill(mask, -1e9)
            c = (s.softmax(-1)[..., None] * mem).sum(1)
            h = self.cell(torch.cat([self.et(tgt_in[:, t]), c], -1), h)
            outs.append(self.out(torch.cat([h, c], -1)))
        return torch.stack(outs, 1)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, S = 16, 10
    n = torch.randint(5, S + 1, (B,), generator=g)
    src = torch.randint(3, 30, (B, S), generator=g)
    tgt = torch.zeros(B, S + 2, dtype=torch.long)
    for b in range(B):
        k = int(n[b])
        src[b, k:] = 0
        tgt[b, 0] = 1
        tgt[b, 1 : k + 1] = src[b, :k].flip(0)
        tgt[b, k + 1] = 2
    m = Net()

    def loss(o, y):
        l = F.cross_entropy(o.transpose(1, 2), y, reduction="none")
        w = (y != 0).float()
        return (l * w).sum() / w.sum()

    return m, loss, ((src, tgt[:, :-1]), tgt[:, 1:]), torch.optim.Adam(m.parameters(), lr=3e-3)
