"""https://github.com/zhouhaoyi/Informer2020/issues/59 (2021): queries.view(B, H, L, -1) on a (B, L, H, D) tensor in place of a transpose; heads and time steps are mixed."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "zhouhaoyi/Informer2020#59"
KIND = "order"
STEPS = 150


class FullAttention(nn.Module):
    def __init__(self, use_view):
        super().__init__()
        self.use_view = use_view

    def forward(self, q, k, v):
        B, L, H, D = q.shape
        if self.use_view:
            q, k, v = (z.contiguous().view(B, H, L, -1) for z in (q, k, v))
        else:
            q, k, v = (z.transpose(1, 2) for z in (q, k, v))
        mask = torch.ones(L, L, dtype=torch.bool).triu(1)
        a = torch.softmax((q @ k.transpose(-2, -1) / D**0.5).masked_fill(mask, -torch.inf), -1)
        y = a @ v
        return y.contiguous().view(B, L, H, D) if self.use_view else y.transpose(1, 2)


class AttentionLayer(nn.Module):
    def __init__(self, d, h, use_view):
        super().__init__()
        self.h, self.inner = h, FullAttention(use_view)
        self.query_projection, self.key_projection, self.value_projection, self.out_projection = (
            nn.Linear(d, d) for _ in range(4)
        )

    def forward(self, x):
        B, L, _ = x.shape
        q, k, v = (
            p(x).view(B, L, self.h, -1) for p in (self.query_projection, self.key_projection, self.value_projection)
        )
        return self.out_projection(self.inner(q, k, v).reshape(B, L, -1))


class EncoderLayer(nn.Module):
    def __init__(self, d, h, use_view):
        super().__init__()
        self.attention, self.norm1, self.norm2 = AttentionLayer(d, h, use_view), nn.LayerNorm(d), nn.LayerNorm(d)
        self.ffn = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.ffn(x))


class Informerish(nn.Module):
    def __init__(self, c=4, d=40, h=4, L=32, use_view=False):
        super().__init__()
        self.emb, self.pos = nn.Linear(c, d), nn.Parameter(0.1 * torch.randn(L, d))
        self.layers, self.proj = (
            nn.Sequential(EncoderLayer(d, h, use_view), EncoderLayer(d, h, use_view)),
            nn.Linear(d, c),
        )

    def forward(self, x):
        return self.proj(self.layers(self.emb(x) + self.pos))


def make(seed, fixed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 2)
    t = torch.arange(33.0)[None, :, None]
    x = torch.sin(
        (0.15 + 0.5 * torch.rand(32, 1, 4, generator=g)) * t + 6.3 * torch.rand(32, 1, 4, generator=g)
    ) + 0.2 * torch.randn(32, 33, 4, generator=g)
    x = (x - x.mean((0, 1))) / x.std((0, 1))
    net = Informerish(use_view=not fixed)
    return net, nn.MSELoss(), (x[:, :-1], x[:, 1:]), torch.optim.Adam(net.parameters(), 1e-3)
