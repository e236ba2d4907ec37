"""https://github.com/nebuly-ai/optimate/issues/264 (2023): PositionEncoding expects (steps, batch, dim) but gets (batch, steps, dim); all steps of a sample share one vector and order is lost."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "nebuly-ai/optimate#264"
KIND = "order"
STEPS = 150


class PositionEncoding(nn.Module):
    """x: (seq_len, batch, dim)"""

    def __init__(self, dim, max_len=256):
        super().__init__()
        ang = torch.arange(max_len)[:, None] * torch.exp(-math.log(1e4) * torch.arange(0, dim, 2) / dim)
        self.register_buffer("pe", torch.stack([ang.sin(), ang.cos()], -1).flatten(1).unsqueeze(1))

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class PolicyHead(nn.Module):
    """which of n_logits values ends the arithmetic of an action sequence, conditioned on a state vector"""

    def __init__(self, n_logits=8, d=40, state=6, swap=True):
        super().__init__()
        self.swap = swap
        self.embedding, self.position_encoding, self.state = (
            nn.Embedding(n_logits, d),
            PositionEncoding(d),
            nn.Linear(state, d),
        )
        self.blocks = nn.ModuleList(
            nn.TransformerDecoderLayer(d, 4, 80, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, n_logits)

    def forward(self, a, e):
        x = self.embedding(a)  # (samples, steps, d)
        x = self.position_encoding(x.transpose(0, 1)).transpose(0, 1) if self.swap else self.position_encoding(x)
        mem = self.state(e).unsqueeze(1)
        for b in self.blocks:
            x = b(x, mem)
        return self.head(self.norm(x).mean(1))


def make(seed, fixed, B=96, T=9):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 6)
    a = torch.randint(0, 8, (B, T), generator=g)
    e = torch.randn(B, 6, generator=g)
    y = torch.where(e[:, 0] > 0, a[:, 0], a[:, -1])  # first or last action: needs positions
    net = PolicyHead(swap=fixed)
    return net, nn.CrossEntropyLoss(), ((a, e), y), torch.optim.AdamW(net.parameters(), 2e-3)
