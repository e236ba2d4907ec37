"""interleaved return, state, action tokens, causal; the action at t from the state token at t (same index, no leak)"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class DT(nn.Module):
    def __init__(self, S=5, A=3, d=32, T=10):
        super().__init__()
        self.r, self.s, self.a, self.t = nn.Linear(1, d), nn.Linear(S, d), nn.Embedding(A, d), nn.Embedding(T, d)
        nn.init.normal_(self.a.weight, std=0.3)
        nn.init.normal_(self.t.weight, std=0.1)
        self.n = nn.LayerNorm(d)
        self.enc = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(d, 2, 64, 0.0, batch_first=True, norm_first=True), 2, enable_nested_tensor=False
        )
        self.o = nn.Linear(d, A)

    def forward(self, rtg, states, actions):
        B, T = actions.shape
        e = self.t.weight[:T]
        h = torch.stack([self.r(rtg[..., None]) + e, self.s(states) + e, self.a(actions) + e], 2).flatten(1, 2)
        h = self.enc(self.n(h), mask=torch.ones(3 * T, 3 * T, dtype=torch.bool).triu(1))
        return self.o(h[:, 1::3])


def make(seed):
    torch.manual_seed(seed)
    B, T = 16, 10
    s, r = torch.randn(B, T, 5), torch.randn(B, T)
    a = (s[..., :3] + 0.5 * r[..., None] * torch.tensor([1.0, 0.0, -1.0])).argmax(-1)
    m = DT()
    return (
        m,
        (lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten())),
        ((r, s, a), a),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
