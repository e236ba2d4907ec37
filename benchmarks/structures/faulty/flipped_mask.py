"""https://github.com/pytorch/examples/issues/649 (2019): word language model, the additive attention mask is flipped: past masked, future visible."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "pytorch/examples#649"
KIND = "future"
STEPS = 200
V, L, D = 20, 24, 48


class WordLM(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Parameter(torch.randn(L, D) * 0.02)
        nn.init.normal_(self.tok.weight, std=0.1)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(D), enable_nested_tensor=False)
        self.out = nn.Linear(D, V)
        ninf = torch.full((L, L), float("-inf"))
        self.register_buffer("mask", ninf.triu(1) if fixed else ninf.tril(-1))

    def forward(self, ids):
        n = ids.shape[1]
        return self.out(self.body(self.tok(ids) + self.pos[:n], mask=self.mask[:n, :n]))


def data(seed, n=96):
    g = torch.Generator().manual_seed(seed)
    nxt = torch.randperm(V, generator=torch.Generator().manual_seed(7))
    s = torch.randint(0, V, (n, L + 1), generator=g)
    for t in range(1, L + 1):
        s[:, t] = torch.where(torch.rand(n, generator=g) < 0.8, nxt[s[:, t - 1]], s[:, t])
    return s


def make(seed, fixed):
    torch.manual_seed(seed)
    s = data(1)
    m = WordLM(fixed)
    return (
        m,
        lambda o, t: F.cross_entropy(o.transpose(1, 2), t),
        (s[:, :-1], s[:, 1:]),
        torch.optim.AdamW(m.parameters(), 2e-3),
    )


def score(m):
    s = data(2)
    with torch.no_grad():
        return float(sum((m(s[:, :t])[:, -1].argmax(-1) == s[:, t]).float().mean() for t in range(3, L)) / (L - 3))
