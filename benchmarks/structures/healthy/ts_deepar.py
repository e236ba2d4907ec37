"""DeepAR style: lagged target and covariates in, Gaussian negative log likelihood out, observed mask"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class DeepAR(nn.Module):
    def __init__(self, h=32):
        super().__init__()
        self.emb, self.rnn, self.mu, self.s = (
            nn.Embedding(8, 4),
            nn.LSTM(1 + 2 + 4, h, batch_first=True),
            nn.Linear(h, 1),
            nn.Linear(h, 1),
        )

    def forward(self, past, cov, sid):
        z = torch.cat([past[..., None], cov, self.emb(sid)[:, None].expand(-1, past.shape[1], -1)], -1)
        h, _ = self.rnn(z)
        return self.mu(h).squeeze(-1), F.softplus(self.s(h)).squeeze(-1) + 1e-3


def make(seed):
    torch.manual_seed(seed)
    B, T = 24, 30
    t = torch.arange(T + 1).float()
    sid = torch.randint(0, 8, (B,))
    s = torch.sin(t[None] / 3 + sid[:, None]) + 0.2 * torch.randn(B, T + 1)
    s = (s - s.mean()) / s.std()
    cov = torch.stack([torch.sin(t[1:] / 3), torch.cos(t[1:] / 3)], -1)[None].expand(B, -1, -1)
    obs = (torch.rand(B, T) > 0.1).float()

    def loss(out, tgt):
        mu, sd = out
        y, o = tgt
        return -(torch.distributions.Normal(mu, sd).log_prob(y) * o).sum() / o.sum()

    m = DeepAR()
    return m, loss, ((s[:, :-1], cov, sid), (s[:, 1:], obs)), torch.optim.Adam(m.parameters(), lr=5e-3)
