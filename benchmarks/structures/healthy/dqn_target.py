"""DQN with a frozen target network, done mask, Huber loss"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
import copy


def make(seed):
    torch.manual_seed(seed)
    m = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    tgt = copy.deepcopy(m).requires_grad_(False)
    s, s2, a = torch.randn(64, 6), torch.randn(64, 6), torch.randint(0, 3, (64,))
    r = torch.tanh(s[:, 0] * (a - 1)) + 0.1 * torch.randn(64)
    done = (torch.rand(64) < 0.1).float()

    def loss(q, b):
        a, r, s2, done = b
        with torch.no_grad():
            y = r + 0.95 * (1 - done) * tgt(s2).amax(1)
        return F.smooth_l1_loss(q.gather(1, a[:, None]).squeeze(1), y)

    return m, loss, (s, (a, r, s2, done)), torch.optim.Adam(m.parameters(), lr=1e-3)
