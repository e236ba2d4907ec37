"""https://github.com/Selen-Suyue/DensePolicy2D/issues/3 (2025): camera images HWC turned to CHW by reshape, not permute; colours and pixels are mixed."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "Selen-Suyue/DensePolicy2D#3"
KIND = "order"
STEPS = 250


class Policy(nn.Module):
    def __init__(self, fixed, c=16):
        super().__init__()
        self.fixed = fixed
        self.vis = nn.Sequential(
            nn.Conv2d(3, c, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.state = nn.Linear(2, 16)
        self.act = nn.Sequential(nn.Linear(c * 9 + 16, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, imgs, qpos):
        b, h, w, c = imgs.shape
        x = imgs.permute(0, 3, 1, 2) if self.fixed else imgs.reshape(b, c, h, w)
        return self.act(torch.cat([self.vis(x), torch.relu(self.state(qpos))], -1))


def data(seed, n=128, S=24):
    g = torch.Generator().manual_seed(seed)
    x = 0.2 * torch.randn(n, S, S, 3, generator=g)
    yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
    p = torch.rand(n, 3, 2, generator=g) * (S - 6) + 3  # one blob for each colour; red is the goal
    for c in range(3):
        x[..., c] += 2 * torch.exp(-((yy - p[:, c, 0, None, None]) ** 2 + (xx - p[:, c, 1, None, None]) ** 2) / 8)
    q = torch.randn(n, 2, generator=g)
    y = (p[:, 0] - p[:, 0].mean(0)) / p[:, 0].std(0) - 0.5 * q
    return {"imgs": (x - x.mean()) / x.std(), "qpos": q}, (y - y.mean(0)) / y.std(0)


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Policy(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 2e-3)


def score(m):
    b, y = data(2)
    with torch.no_grad():
        return float(1 - ((m(**b) - y) ** 2).mean())
