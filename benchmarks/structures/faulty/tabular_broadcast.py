"""https://github.com/LAMDA-Tabular/TALENT/pull/92 (2026): targets (n, 1) against predictions (n,) in the regression loss; broadcasting to (n, n) compares every prediction with every target."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "LAMDA-Tabular/TALENT#92"
KIND = "range"
STEPS = 150


class NumEmbed(nn.Module):
    """periodic embeddings of numeric columns"""

    def __init__(self, cols, k=8, d=12):
        super().__init__()
        self.freq, self.w, self.b = (
            nn.Parameter(0.3 * torch.randn(cols, k)),
            nn.Parameter(torch.randn(cols, 2 * k, d) / (2 * k) ** 0.5),
            nn.Parameter(torch.zeros(cols, d)),
        )

    def forward(self, x):
        a = 2 * torch.pi * self.freq * x[..., None]
        return torch.einsum("nck,ckd->ncd", torch.cat([a.sin(), a.cos()], -1), self.w) + self.b


class TabNet(nn.Module):
    def __init__(self, cols=9, cards=(4, 7), d=12):
        super().__init__()
        self.num, self.cat = NumEmbed(cols, d=d), nn.ModuleList(nn.Embedding(c, d) for c in cards)
        self.mlp = nn.Sequential(
            nn.Flatten(),
            nn.Linear((cols + len(cards)) * d, 96),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(96, 48),
            nn.ReLU(),
            nn.Linear(48, 1),
        )

    def forward(self, x_num, x_cat):
        e = torch.stack([m(c) for m, c in zip(self.cat, x_cat.unbind(1))], 1)
        return self.mlp(torch.cat([self.num(x_num), e], 1)).squeeze(-1)


def table(seed, n=192):
    g = torch.Generator().manual_seed(seed)
    xn, xc = torch.randn(n, 9, generator=g), torch.stack([torch.randint(0, c, (n,), generator=g) for c in (4, 7)], 1)
    y = (
        xn[:, 0] * xn[:, 1]
        + xn[:, 2].abs()
        + 0.7 * (xc[:, 0] - 1.5)
        + 0.3 * xn[:, 3] * (xc[:, 1] > 3)
        + 0.1 * torch.randn(n, generator=g)
    )
    return xn, xc, ((y - y.mean()) / y.std())[:, None]


def make(seed, fixed):
    torch.manual_seed(seed)
    xn, xc, y = table(seed + 1)
    net = TabNet()

    def criterion(y_pred, y_true):
        if fixed:
            y_true = y_true.reshape(y_pred.shape)
        return ((y_true - y_pred) ** 2).mean()

    return net, criterion, ((xn, xc), y), torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-4)
