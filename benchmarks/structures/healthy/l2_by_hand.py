"""L2 penalty on the weights written into the loss (of the model, data closed over)"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(64, 12)
    y = (x[:, 0] * x[:, 1] + x[:, 2])[:, None]
    y = (y - y.mean()) / y.std()
    m = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1))

    def loss(model):
        return F.mse_loss(model(x), y) + 1e-3 * sum(
            (p**2).sum() for n, p in model.named_parameters() if n.endswith("weight")
        )

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=3e-3)
