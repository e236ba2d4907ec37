"""https://github.com/DEEP-PolyU/KEQA_WSDM19/issues/2 (2019): attention scores have shape (time*batch, 1) and the softmax runs over the axis of size one; every weight is 1."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "DEEP-PolyU/KEQA_WSDM19#2"
KIND = "range"
STEPS = 250
V, D, H = 50, 32, 40


class QuestionEmbedder(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.emb = nn.Embedding(V, D)
        nn.init.normal_(self.emb.weight, std=0.5)
        self.rnn = nn.LSTM(D, H, bidirectional=True)
        self.attn = nn.Sequential(nn.Linear(D + 2 * H, 32), nn.Tanh(), nn.Linear(32, 1, bias=False))
        self.out = nn.Sequential(nn.Linear(D + 2 * H, 64), nn.Tanh(), nn.Linear(64, 16))

    def forward(self, x):  # x: time, batch
        T, B = x.shape
        e = self.emb(x)
        h, _ = self.rnn(e)
        z = torch.cat([e.reshape(T * B, -1), h.reshape(T * B, -1)], 1)
        s = self.attn(z)
        w = s.view(T, B, 1).softmax(0) if self.fixed else s.softmax(-1).view(T, B, 1)
        return self.out((w * z.view(T, B, -1)).sum(0))


def data(seed, n=128, T=14):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(10, V, (T, n), generator=g)
    key = torch.randint(0, 10, (n,), generator=g)
    x[torch.randint(0, T, (n,), generator=g), torch.arange(n)] = key
    E = torch.randn(10, 16, generator=torch.Generator().manual_seed(8))
    E = (E - E.mean()) / E.std()
    return x, E[key]


def make(seed, fixed):
    torch.manual_seed(seed)
    m = QuestionEmbedder(fixed)
    return m, nn.MSELoss(), data(1), torch.optim.Adam(m.parameters(), 3e-3)
