"""sigmoid output with BCELoss, multi-label targets"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 48), nn.Linear(48, 5)

    def forward(self, x):
        return torch.sigmoid(self.b(F.elu(self.a(x))))


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(96, 12)
    y = (x @ torch.randn(12, 5) + 0.5 * torch.randn(96, 5) > 0).float()
    m = Net()
    return m, nn.BCELoss(), (x, y), torch.optim.Adam(m.parameters(), lr=3e-3)
