"""model shifts its input right itself (prepends BOS), the target IS the input"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class Net(nn.Module):
    def __init__(self, V=40, d=48, L=32):
        super().__init__()
        self.emb = nn.Embedding(V, d)
        nn.init.normal_(self.emb.weight, std=0.3)
        self.pos = nn.Parameter(torch.randn(L, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, V)

    def forward(self, x):
        x = torch.cat([torch.full_like(x[:, :1], 1), x[:, :-1]], 1)
        h = self.emb(x) + self.pos[: x.shape[1]]
        h = self.enc(h, mask=nn.Transformer.generate_square_subsequent_mask(x.shape[1]), is_causal=True)
        return self.head(self.norm(h))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    s = markov(g, 16, 32, 40)
    m = Net()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())),
        (s, s),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
