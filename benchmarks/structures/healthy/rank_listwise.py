"""learning to rank: ListNet over padded lists, padded documents out of both softmaxes"""

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, docs):
        return self.f(docs).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    n = torch.randint(4, 10, (32,))
    k = torch.arange(9)[None] < n[:, None]
    x = torch.randn(32, 9, 8) * k[..., None]
    r = (x @ torch.randn(8)).div(1.5).round().clamp(-2, 2)
    p = r.masked_fill(~k, float("-inf")).softmax(-1)
    m = Net()
    return (
        m,
        (lambda s, t: -(t[0] * s.masked_fill(~t[1], -1e9).log_softmax(-1)).sum(-1).mean()),
        (x, (p, k)),
        torch.optim.Adam(m.parameters(), lr=3e-3),
    )
