"""linear regression with an L1 penalty, SGD"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(128, 20)
    w = torch.zeros(20, 1)
    w[:4] = torch.tensor([[1.0], [-0.8], [0.6], [0.5]])
    y = x @ w + 0.2 * torch.randn(128, 1)
    y = (y - y.mean()) / y.std()
    m = nn.Linear(20, 1)
    return (
        m,
        (lambda model: F.mse_loss(model(x), y) + 0.01 * model.weight.abs().sum()),
        None,
        torch.optim.SGD(m.parameters(), lr=0.05),
    )
