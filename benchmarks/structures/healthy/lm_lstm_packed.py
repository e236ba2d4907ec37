"""LSTM language model, pack_padded_sequence, ignore_index"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class LM(nn.Module):
    def __init__(self, V=40, e=32, h=64):
        super().__init__()
        self.emb, self.rnn, self.drop, self.out = (
            nn.Embedding(V, e, padding_idx=0),
            nn.LSTM(e, h, batch_first=True),
            nn.Dropout(0.2),
            nn.Linear(h, V),
        )

    def forward(self, x, lens):
        p = pack_padded_sequence(self.emb(x), lens.cpu(), batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.rnn(p)[0], batch_first=True, total_length=x.shape[1])
        return self.out(self.drop(y))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 25, 40)
    lens = torch.randint(8, 25, (16,), generator=g)  # input lengths
    t = torch.arange(24)[None]
    x = s[:, :-1].masked_fill(t >= lens[:, None], 0)
    y = s[:, 1:].masked_fill(t >= lens[:, None], -100)
    m = LM()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=-100)),
        ((x, lens), y),
        torch.optim.Adam(m.parameters(), lr=3e-3),
    )
