"""whole net fine-tuned with small rate at the backbone, BatchNorm layers kept in eval mode"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.b1, self.c2, self.b2, self.fc = (
            nn.Conv1d(2, 16, 5, 2, 2),
            nn.BatchNorm1d(16),
            nn.Conv1d(16, 24, 5, 2, 2),
            nn.BatchNorm1d(24),
            nn.Linear(24, 3),
        )

    def forward(self, x):
        return self.fc(F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x)))))).mean(-1))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 3, (256,))
    x = torch.sin(torch.arange(40) * (0.3 + 0.3 * y[:, None, None]) + torch.rand(256, 2, 1) * 6) + 0.5 * torch.randn(
        256, 2, 40
    )
    x = (x - x.mean()) / x.std()
    m = Net()
    o = torch.optim.Adam(m.parameters(), lr=3e-3)
    m.train()
    for i in range(40):
        k = torch.randint(0, 224, (32,))
        o.zero_grad()
        F.cross_entropy(m(x[k]), y[k]).backward()
        o.step()
    o.zero_grad(set_to_none=True)
    m.fc = nn.Linear(24, 3)
    for l in m.modules():
        if isinstance(l, nn.BatchNorm1d):
            l.eval()
    back = [p for k, p in m.named_parameters() if not k.startswith("fc")]
    return (
        m,
        F.cross_entropy,
        (x[224:], y[224:]),
        torch.optim.AdamW([{"params": back, "lr": 1e-4}, {"params": m.fc.parameters(), "lr": 1e-2}]),
    )
