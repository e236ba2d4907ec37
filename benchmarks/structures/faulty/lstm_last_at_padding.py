"""https://github.com/ray-project/ray/issues/21392 (2022): recurrent state is taken at the longest length of the batch, after zeros were fed for the padding."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "ray-project/ray#21392"
KIND = "padding"
STEPS = 250


class RecurrentQ(nn.Module):
    def __init__(self, fixed, obs=5, h=48, actions=4):
        super().__init__()
        self.fixed = fixed
        self.pre = nn.Sequential(nn.Linear(obs, 32), nn.ReLU())
        self.lstm = nn.LSTM(32, h, batch_first=True)
        self.q = nn.Sequential(nn.Linear(h, 32), nn.ReLU(), nn.Linear(32, actions))

    def forward(self, obs, seq_lens):
        x, _ = self.lstm(self.pre(obs))
        last = x[torch.arange(len(x)), seq_lens - 1] if self.fixed else x[:, -1]
        return self.q(last)


def data(seed, n=128, T=45, obs=5):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, T, obs, generator=g)
    lens = torch.randint(3, 16, (n,), generator=g)
    lens[0] = T
    keep = (torch.arange(T) < lens[:, None]).float()[..., None]
    x = x * keep
    W = torch.randn(obs, 4, generator=torch.Generator().manual_seed(3))
    decay = 0.7 ** (lens[:, None] - 1 - torch.arange(T)).clamp(min=0).float()[..., None]
    y = torch.tanh((x * decay).sum(1) @ W)
    return x, lens, (y - y.mean()) / y.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = RecurrentQ(fixed)
    x, l, y = data(1)
    return m, nn.SmoothL1Loss(), ((x, l), y), torch.optim.Adam(m.parameters(), 3e-3)
