"""DLinear style direct multi-step forecast, moving-average decomposition, several channels"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class DLinear(nn.Module):
    def __init__(self, L=36, H=12):
        super().__init__()
        self.s, self.t = nn.Linear(L, H), nn.Linear(L, H)

    def forward(self, x):  # [B, L, C]
        x = x.transpose(1, 2)
        tr = F.avg_pool1d(F.pad(x, (4, 4), mode="replicate"), 9, 1)
        return (self.s(x - tr) + self.t(tr)).transpose(1, 2)


def make(seed):
    torch.manual_seed(seed)
    t = torch.arange(500).float()[:, None]
    s = torch.sin(t / torch.tensor([4.0, 7.0, 11.0])) + 0.01 * torch.randn(500, 3).cumsum(0) + 0.2 * torch.randn(500, 3)
    s = (s - s.mean(0)) / s.std(0)
    i = torch.randperm(450)[:32].tolist()
    x, y = torch.stack([s[k : k + 36] for k in i]), torch.stack([s[k + 36 : k + 48] for k in i])
    m = DLinear()
    return m, nn.L1Loss(), (x, y), torch.optim.Adam(m.parameters(), lr=5e-3)
