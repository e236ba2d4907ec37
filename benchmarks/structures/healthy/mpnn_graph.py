"""graph regression over padded dense molecules: masked messages, GRU update, masked readout"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class MPNN(nn.Module):
    def __init__(self, T=6, d=32):
        super().__init__()
        self.e, self.msg, self.gru, self.out = (
            nn.Embedding(T, d),
            nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Linear(d, d)),
            nn.GRUCell(d, d),
            nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)),
        )

    def forward(self, atoms, adj, mask):
        h = self.e(atoms)
        B, N, D = h.shape
        for _ in range(2):
            pair = torch.cat([h[:, :, None].expand(B, N, N, D), h[:, None].expand(B, N, N, D)], -1)
            m = (self.msg(pair) * adj[..., None]).sum(2) / adj.sum(2, keepdim=True).clamp(min=1)
            h = self.gru(m.reshape(-1, D), h.reshape(-1, D)).view(B, N, D) * mask[..., None]
        return self.out(h.sum(1) / mask.sum(1, keepdim=True)).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    B, N = 16, 9
    n = torch.randint(5, N + 1, (B,))
    mask = (torch.arange(N)[None] < n[:, None]).float()
    A = (torch.rand(B, N, N) < 0.35).float().triu(1)
    A = (A + A.transpose(1, 2)) * mask[:, :, None] * mask[:, None]
    at = torch.randint(0, 6, (B, N))
    v = torch.randn(6)[at] * mask
    y = (v.sum(1) + torch.einsum("bi,bij,bj->b", v, A, v)) / n
    y = (y - y.mean()) / y.std()
    m = MPNN()
    return m, F.mse_loss, ((at, A, mask), y), torch.optim.Adam(m.parameters(), lr=2e-3)
