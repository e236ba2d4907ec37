"""https://github.com/thuml/iTransformer/issues/26 (2023): TokenEmbedding is a Conv1d(kernel 3, padding 1, circular) along time, which carries values of later steps (and the last step round to the first) into each token."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "thuml/iTransformer#26"
KIND = "future"
STEPS = 150


class TokenEmbedding(nn.Module):
    def __init__(self, c_in, d_model, causal):
        super().__init__()
        self.causal = causal
        kw = dict(padding=0) if causal else dict(padding=1, padding_mode="circular")
        self.tokenConv = nn.Conv1d(c_in, d_model, 3, bias=False, **kw)
        nn.init.kaiming_normal_(self.tokenConv.weight, mode="fan_in", nonlinearity="leaky_relu")

    def forward(self, x):
        x = x.permute(0, 2, 1)
        if self.causal:
            x = F.pad(x, (2, 0))
        return self.tokenConv(x).transpose(1, 2)


class CausalBlock(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.attn = nn.MultiheadAttention(d, h, batch_first=True)
        self.conv1, self.conv2 = nn.Conv1d(d, 2 * d, 1), nn.Conv1d(2 * d, d, 1)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x):
        m = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        x = self.norm1(x + self.attn(x, x, x, attn_mask=m, need_weights=False)[0])
        y = self.conv2(F.gelu(self.conv1(x.transpose(1, 2)))).transpose(1, 2)
        return self.norm2(x + y)


class NextStepFormer(nn.Module):
    def __init__(self, c=7, d=32, causal=True):
        super().__init__()
        self.value = TokenEmbedding(c, d, causal)
        self.pos = nn.Parameter(0.02 * torch.randn(48, d))
        self.layers = nn.Sequential(CausalBlock(d, 4), CausalBlock(d, 4))
        self.projection = nn.Linear(d, c)

    def forward(self, x_enc):
        return self.projection(self.layers(self.value(x_enc) + self.pos[: x_enc.shape[1]]))


def ett_like(seed, B=32, T=49, C=7):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(T)[None, :, None]
    ph, w = 6.3 * torch.rand(B, 1, C, generator=g), 0.2 + 0.4 * torch.rand(1, 1, C, generator=g)
    x = torch.sin(w * t + ph) + 0.6 * torch.randn(B, T, C, generator=g)
    return (x - x.mean((0, 1))) / x.std((0, 1))


def make(seed, fixed):
    torch.manual_seed(seed)
    series = ett_like(seed + 11)
    model = NextStepFormer(causal=fixed)
    return model, nn.MSELoss(), (series[:, :-1], series[:, 1:]), torch.optim.Adam(model.parameters(), lr=1e-3)
