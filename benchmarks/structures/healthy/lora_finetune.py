"""frozen pre-trained linear layers with LoRA (B starts at zero) and a trained head"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class LoRA(nn.Module):
    def __init__(self, base, r=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + 2.0 * F.linear(F.linear(x, self.A), self.B)


def make(seed):
    torch.manual_seed(seed)
    x = torch.randn(96, 12)
    y = (x @ torch.randn(12, 3)).argmax(-1)
    y2 = (x @ torch.randn(12, 3)).argmax(-1)
    m = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    o = torch.optim.Adam(m.parameters(), lr=5e-3)
    for i in range(40):
        o.zero_grad()
        F.cross_entropy(m(x), y).backward()
        o.step()
    o.zero_grad(set_to_none=True)
    m[0], m[2] = LoRA(m[0]), LoRA(m[2])
    m[4] = nn.Linear(48, 3)
    return m, F.cross_entropy, (x, y2), torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=3e-3)
