"""encoder-decoder, sentinels, decoder input is the shifted target"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class Net(nn.Module):
    def __init__(self, V=48, d=32, L=40):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d), nn.Embedding(L, d)
        nn.init.normal_(self.e.weight, std=0.3)
        nn.init.normal_(self.p.weight, std=0.1)
        self.t = nn.Transformer(d, 4, 1, 2, 64, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(d, V)

    def forward(self, input_ids, labels):
        dec = torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], 1)  # shift right inside of the model
        T = dec.shape[1]
        h = self.t(
            self.e(input_ids) + self.p(torch.arange(input_ids.shape[1])),
            self.e(dec) + self.p(torch.arange(T)),
            tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),
        )
        return self.head(h)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B = 16
    s = markov(g, B, 24, 44, first=1)
    S1, S2, S3 = 45, 46, 47
    xs, ys = [], []
    for b in range(B):
        a = int(torch.randint(2, 9, (1,), generator=g))
        c = int(torch.randint(13, 20, (1,), generator=g))
        w = s[b].tolist()
        xs.append(w[:a] + [S1] + w[a + 3 : c] + [S2] + w[c + 3 :])
        ys.append([S1] + w[a : a + 3] + [S2] + w[c : c + 3] + [S3])
    x, y = torch.tensor(xs), torch.tensor(ys)
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.transpose(1, 2), y)),
        ({"input_ids": x, "labels": y}, y),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
