"""https://github.com/Atcold/NYU-DLSP20/pull/19 (2019): sequences are padded in front, but the RNN output is read at position length-1, which lies in the padding or before the end for short sequences."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "Atcold/NYU-DLSP20#19"
KIND = "padding"
STEPS = 200


class EchoClassifier(nn.Module):
    """temporal order task: two marked symbols, class = their order"""

    def __init__(self, n_sym=8, hidden=40, n_cls=4, read_end=True):
        super().__init__()
        self.read_end = read_end
        self.gru = nn.GRU(n_sym, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, n_cls)

    def forward(self, x, lengths):
        h, _ = self.gru(x)
        idx = torch.full_like(lengths, x.shape[1] - 1) if self.read_end else lengths - 1
        return self.linear(h[torch.arange(len(x)), idx])


def sequences(seed, B=64, T=24, n_sym=8):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(6, T + 1, (B,), generator=g)
    x = torch.zeros(B, T, n_sym)
    y = torch.empty(B, dtype=torch.long)
    for b, n in enumerate(lengths.tolist()):
        s = torch.randint(2, n_sym, (n,), generator=g)
        i, j = sorted(torch.randperm(n, generator=g)[:2].tolist())
        p, q = torch.randint(0, 2, (2,), generator=g).tolist()
        s[i], s[j] = p, q
        x[b, T - n :] = nn.functional.one_hot(s, n_sym).float()  # padded in front
        y[b] = 2 * p + q
    return x, lengths, y


def make(seed, fixed):
    torch.manual_seed(seed)
    x, n, y = sequences(seed + 1)
    net = EchoClassifier(read_end=fixed)
    return net, nn.CrossEntropyLoss(), ((x, n), y), torch.optim.RMSprop(net.parameters(), lr=2e-3)
