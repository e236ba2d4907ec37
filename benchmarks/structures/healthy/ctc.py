"""CTC over a time-first BiGRU, blank 0, true input and target lengths"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, D=8, h=32, K=7):
        super().__init__()
        self.c, self.g, self.o = nn.Conv1d(D, h, 3, padding=1), nn.GRU(h, h, bidirectional=True), nn.Linear(2 * h, K)

    def forward(self, x):  # [T, N, D]
        h = F.relu(self.c(x.permute(1, 2, 0))).permute(2, 0, 1)
        return F.log_softmax(self.o(self.g(h)[0]), -1)


def make(seed):
    torch.manual_seed(seed)
    B, S, r = 16, 6, 4
    tl = torch.randint(3, S + 1, (B,))
    y = torch.randint(1, 7, (B, S))
    E = torch.randn(7, 8)
    x = E[y].repeat_interleave(r, 1)
    x[:, ::r] = E[0]
    x = (x + 0.2 * torch.randn_like(x)).transpose(0, 1).contiguous()
    x = (x - x.mean()) / x.std()
    ctc = nn.CTCLoss(blank=0)
    m = Net()
    return m, (lambda o, t: ctc(o, t[0], t[1], t[2])), (x, (y, tl * r, tl)), torch.optim.Adam(m.parameters(), lr=5e-3)
