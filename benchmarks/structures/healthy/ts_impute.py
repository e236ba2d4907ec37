"""imputation of held-out values: input with the value zeroed and a mask channel, loss on held-out places only"""

import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, h=32):
        super().__init__()
        self.r, self.o = nn.GRU(2, h, batch_first=True, bidirectional=True), nn.Linear(2 * h, 1)

    def forward(self, x, seen):
        return self.o(self.r(torch.stack([x, seen], -1))[0]).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    y = 1.4 * torch.sin(torch.rand(32, 1) * 6 + torch.arange(30) * 0.4) + 0.05 * torch.randn(32, 30)
    seen = (torch.rand(32, 30) > 0.25).float()
    m = Net()
    return (
        m,
        (lambda o, t: ((o - t[0]) ** 2 * t[1]).sum() / t[1].sum()),
        ((y * seen, seen), (y, 1 - seen)),
        torch.optim.Adam(m.parameters(), lr=5e-3),
    )
