"""autoencoder, the target IS the input"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    z = torch.randn(64, 4)
    x = torch.tanh(z @ torch.randn(4, 32)) + 0.1 * torch.randn(64, 32)
    x = (x - x.mean(0)) / x.std(0)
    m = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 6), nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 32))
    return m, F.mse_loss, (x, x), torch.optim.Adam(m.parameters(), lr=2e-3)
