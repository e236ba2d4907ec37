"""online net against an EMA target with stop gradient, predictor head"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
import copy


class Byol(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 16))
        self.p = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
        self.target = copy.deepcopy(self.f).requires_grad_(False)

    def forward(self, a, b):
        with torch.no_grad():
            ta, tb = self.target(a), self.target(b)
        return self.p(self.f(a)), self.p(self.f(b)), ta, tb


def agree(o):
    return (
        2
        - F.cosine_similarity(o[0], o[3].detach(), dim=-1).mean()
        - F.cosine_similarity(o[1], o[2].detach(), dim=-1).mean()
    )


def make(seed):
    torch.manual_seed(seed)
    z = torch.randn(64, 16)
    m = Byol()
    a, b = z + 0.3 * torch.randn_like(z), z + 0.3 * torch.randn_like(z)
    return (
        m,
        (lambda model: agree(model(a, b))),
        None,
        torch.optim.Adam([p for p in m.parameters() if p.requires_grad], lr=1e-3),
    )
