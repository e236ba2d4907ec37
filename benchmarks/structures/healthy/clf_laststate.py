"""GRU classifier with the state at the true length (gather), right padding"""

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=60, d=24, h=40):
        super().__init__()
        self.e, self.g, self.o = nn.Embedding(V, d, padding_idx=0), nn.GRU(d, h, batch_first=True), nn.Linear(h, 1)

    def forward(self, x, n):
        h, _ = self.g(self.e(x))
        last = h.gather(1, (n - 1)[:, None, None].expand(-1, 1, h.shape[-1])).squeeze(1)
        return self.o(last).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    B, T = 32, 18
    n = torch.randint(5, T + 1, (B,))
    x = torch.randint(1, 60, (B, T)) * (torch.arange(T)[None] < n[:, None])
    last3 = torch.stack([x[b, n[b] - 3 : n[b]].sum() for b in range(B)])
    y = (last3 > 90).float()
    m = Net()
    return m, nn.BCEWithLogitsLoss(), ((x, n), y), torch.optim.Adam(m.parameters(), lr=5e-3)
